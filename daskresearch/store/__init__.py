"""What remains of a run: records of experiments, and where they are kept."""

from daskresearch.store.memory import Experiments, MemoryStore, Rows
from daskresearch.store.provenance import Part, UnitKey
from daskresearch.store.record import MISSING, Described, Failure, Record

__all__ = ["MISSING", "Described", "Experiments", "Failure", "MemoryStore", "Part", "Record", "Rows", "UnitKey"]
