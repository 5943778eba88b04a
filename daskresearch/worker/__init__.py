"""What runs inside: one experiment, a group in lock-step, a batch of them, one node of a graph."""

from daskresearch.worker.batch import Group, run_batch, run_groups
from daskresearch.worker.experiment import Context, Experiment, Label, RootKey
from daskresearch.worker.keep import Receipt, Written
from daskresearch.worker.parcel import Finished, load_records
from daskresearch.worker.program import Program
from daskresearch.worker.shared import Outcome, RootOutputs, RootTable
from daskresearch.worker.task import (
    Elsewhere,
    departing,
    given,
    is_small,
    run_node,
    run_root,
    run_root_alone,
)
from daskresearch.worker.travel import Carried
from daskresearch.worker.workplace import Blob

__all__ = [
    "Blob",
    "Carried",
    "Context",
    "Elsewhere",
    "Experiment",
    "Finished",
    "Group",
    "Label",
    "Outcome",
    "Program",
    "Receipt",
    "RootKey",
    "RootOutputs",
    "RootTable",
    "Written",
    "departing",
    "given",
    "is_small",
    "load_records",
    "run_batch",
    "run_groups",
    "run_node",
    "run_root",
    "run_root_alone",
]
