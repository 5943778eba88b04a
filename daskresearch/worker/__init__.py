"""What runs inside: one experiment, a group in lock-step, a batch of them, one node of a graph."""

from daskresearch.worker.batch import Group, run_batch, run_groups
from daskresearch.worker.blob import Blob
from daskresearch.worker.context import Context
from daskresearch.worker.node import (
    Elsewhere,
    departing,
    given,
    is_small,
    run_node,
    run_root,
    run_root_alone,
)
from daskresearch.worker.parcel import FinishedNode, load_records
from daskresearch.worker.pickling import Carried
from daskresearch.worker.program import Program
from daskresearch.worker.receipts import Receipt, Written
from daskresearch.worker.roots import Outcome, RootOutputs, RootTable

__all__ = [
    "Blob",
    "Carried",
    "Context",
    "Elsewhere",
    "FinishedNode",
    "Group",
    "Outcome",
    "Program",
    "Receipt",
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
