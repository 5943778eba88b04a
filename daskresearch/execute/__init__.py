"""Where experiments run: in this process, in threads, or on a Dask cluster."""

from daskresearch.execute.choose import (
    DISTRIBUTED,
    SCHEDULERS,
    Place,
    choose_place,
    distributed_executor,
    local_executor,
)
from daskresearch.execute.executor import Executor, Lost, Returned, lost
from daskresearch.execute.local import SerialExecutor, ThreadsExecutor

__all__ = [
    "DISTRIBUTED",
    "SCHEDULERS",
    "Executor",
    "Lost",
    "Place",
    "Returned",
    "SerialExecutor",
    "ThreadsExecutor",
    "choose_place",
    "distributed_executor",
    "local_executor",
    "lost",
]
