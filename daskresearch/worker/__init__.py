"""What runs inside: one experiment, a group in lock-step, a batch of them."""

from daskresearch.worker.experiment import Context, Experiment
from daskresearch.worker.group import identity
from daskresearch.worker.program import Program
from daskresearch.worker.shared import Outcome, RootKey, RootOutputs, RootTable
from daskresearch.worker.task import Blob, Group, Receipt, load_records, run_batch, run_groups, run_root

__all__ = [
    "Blob",
    "Context",
    "Experiment",
    "Group",
    "Outcome",
    "Program",
    "Receipt",
    "RootKey",
    "RootOutputs",
    "RootTable",
    "identity",
    "load_records",
    "run_batch",
    "run_groups",
    "run_root",
]
