"""Devices that experiments hold while they run: concrete ids, leased so that no two hold one at a time.

A lease is a locked file in the temporary folder of the machine. So all processes of a run on one machine share their
devices, whoever started them, and the operating system gives a lease back when its process dies, however that dies.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from daskresearch.errors import ClusterError
from daskresearch.store.files import safe_name

logger = logging.getLogger(__name__)

Device = int | str

_AGAIN_S = 0.02
_MEMORY_S = 0.5
_held = threading.local()


class Devices(NamedTuple):
    """Which devices the experiments of a run may hold.

    Attributes
    ----------
    token : str
        Of the run.
    ids : tuple of int or str
        Empty for those of the process.
    n_own : int
        How many a process has that does not know its own.
    need : int
        How many an experiment holds.
    share : float
        The part of each that it takes: so many may hold one as make a whole.
    memory_ratio : float, optional
        The part of the memory of a device that must be free before an experiment begins.
    """

    token: str
    ids: tuple[Device, ...] = ()
    n_own: int = 0
    need: int = 1
    share: float = 1.0
    memory_ratio: float | None = None

    @property
    def n_holders(self) -> int:
        """How many experiments may hold one device."""
        return int(1 / self.share + 1e-9)

    def known(self) -> tuple[Device, ...]:
        """Return the ids of the devices in this process."""
        return self.ids or devices_of_process() or tuple(range(self.n_own))


def devices_of_process() -> tuple[Device, ...]:
    """Return the GPUs that this process may use: those that ``CUDA_VISIBLE_DEVICES`` names, else all of the machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
        return tuple([int(name) if name.isdigit() else name for name in names])
    nvml = _nvml()
    return () if nvml is None else tuple(range(nvml.nvmlDeviceGetCount()))


@contextlib.contextmanager
def leased(devices: Devices | None) -> Iterator[Device | list[Device] | None]:
    """Return a context that holds devices, waiting for them; within another one it holds the same.

    Yields
    ------
    int, str, list or None
        The id of the device, all ids if there are several, None if none are asked for.
    """
    if devices is None:
        yield None
        return
    held = getattr(_held, "ids", None)
    if held is not None:
        yield held
        return
    ids, locks = _acquired(devices)
    _held.ids = ids[0] if devices.need == 1 else ids
    try:
        for one in ids if devices.memory_ratio else ():
            _await_memory(one, devices.memory_ratio or 0)
        yield _held.ids
    finally:
        _held.ids = None
        for lock in locks:
            lock.release()


def _acquired(devices: Devices) -> tuple[list[Device], list[Any]]:
    """Return the ids that were acquired and the locks that hold them: all that are needed, or none for the moment."""
    from filelock import FileLock, Timeout

    known = devices.known()
    if len(known) < devices.need:
        raise ClusterError(f"an experiment needs {devices.need} devices, but this process has {list(known)}")
    folder = _folder(devices.token)
    os.makedirs(folder, exist_ok=True)
    while True:
        ids: list[Device] = []
        locks: list[Any] = []
        # those that have the fewest holders first
        for place, one in ((place, one) for place in range(devices.n_holders) for one in known):
            if one in ids:
                continue
            lock = FileLock(os.path.join(folder, f"{safe_name(str(one))}.{place}"), thread_local=False)
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                ids.append(one)
                locks.append(lock)
                if len(ids) == devices.need:
                    return ids, locks
        for lock in locks:  # whoever waits holds nothing, so that no two wait for each other
            lock.release()
        time.sleep(_AGAIN_S * (0.5 + random.random()))


def forget_leases(token: str) -> None:
    """Remove what the leases of a run have left on this machine."""
    shutil.rmtree(_folder(token), ignore_errors=True)


def _folder(token: str) -> str:
    return os.path.join(tempfile.gettempdir(), f"daskresearch-devices-{token}")


def _nvml() -> Any:
    """Return NVML, ready to be asked, or None if it is not there."""
    with contextlib.suppress(Exception):
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return nvml
    return None


def _await_memory(device: Device, ratio: float) -> None:
    nvml = _nvml()
    if nvml is None:
        logger.warning("memory_ratio is not looked at, as NVML is not there; install nvidia-ml-py")
        return
    is_told = False
    while True:
        by_index = isinstance(device, int)
        handle = nvml.nvmlDeviceGetHandleByIndex(device) if by_index else nvml.nvmlDeviceGetHandleByUUID(device)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        if memory.free >= ratio * memory.total:
            return
        if not is_told:
            logger.warning("waiting for %.0f %% of the memory of device %s to be free", 100 * ratio, device)
            is_told = True
        time.sleep(_MEMORY_S)


def as_text(device: Device | Sequence[Device] | None) -> str | None:
    """Return the device of an experiment as the table has it.

    Examples
    --------
    >>> as_text(0), as_text([0, 1]), as_text(None)
    ('0', '0,1', None)
    """
    if device is None:
        return None
    return ",".join(map(str, device)) if isinstance(device, list) else str(device)
