"""What holds for all processes that this one starts as workers."""

from __future__ import annotations

_GUARD = """worker processes could not be started.

A script that starts worker processes is imported again by each of them, so its own work must stand under a guard:

    if __name__ == "__main__":
        {call}

Put the guard there{else_}. (Notebooks and modules that are imported need none.)"""


def guard_text(call: str, else_: str = "") -> str:
    """Return the text of the error of a script that has no guard around a call.

    Parameters
    ----------
    call : str
    else_ : str
        The other way out.
    """
    return _GUARD.format(call=call, else_=else_)


def let_workers_start_processes() -> None:
    """Make workers that this process starts no daemons, which could not start processes, as torch's loaders do."""
    import dask

    # it is read again whenever a worker is replaced, so it stays set
    dask.config.set({"distributed.worker.daemon": False})
