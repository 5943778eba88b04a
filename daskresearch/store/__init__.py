"""What remains of a run: records of experiments, and where they are kept."""

from daskresearch.store.folder_snapshot import FolderSnapshot, retried
from daskresearch.store.memory import MemoryStore
from daskresearch.store.provenance import Part, UnitKey
from daskresearch.store.reader import FolderStore
from daskresearch.store.record import MISSING, Described, Failure, Record
from daskresearch.store.snapshot import Plain, Rows, Snapshot, Store, recorded, taken

__all__ = [
    "MISSING",
    "Described",
    "Failure",
    "FolderSnapshot",
    "FolderStore",
    "MemoryStore",
    "Part",
    "Plain",
    "Record",
    "Rows",
    "Snapshot",
    "Store",
    "UnitKey",
    "recorded",
    "retried",
    "taken",
]
