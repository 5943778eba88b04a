"""Where experiments run: in this process, in threads, or on the workers of a Dask cluster."""

from daskresearch.execute.local import Executor, SerialExecutor, ThreadsExecutor

__all__ = ["Executor", "SerialExecutor", "ThreadsExecutor"]
