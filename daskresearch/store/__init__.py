"""What remains of a run: records of experiments, and where they are kept."""

from daskresearch.store.failure import Failure
from daskresearch.store.folder.listing import retried
from daskresearch.store.folder.snapshot import FolderSnapshot
from daskresearch.store.folder.store import FolderStore
from daskresearch.store.key_parts import UnitKey
from daskresearch.store.memory import MemoryStore
from daskresearch.store.record import MISSING, Record
from daskresearch.store.snapshot import Rows, Snapshot, Store, recorded, taken

__all__ = [
    "MISSING",
    "Failure",
    "FolderSnapshot",
    "FolderStore",
    "MemoryStore",
    "Record",
    "Rows",
    "Snapshot",
    "Store",
    "UnitKey",
    "recorded",
    "retried",
    "taken",
]
