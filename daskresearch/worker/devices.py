"""Devices that experiments hold while they run: concrete ids, leased so that no two hold one at a time.

A lease is a locked file in the temporary folder of the machine. So all processes of one run on one machine share their
devices, whoever started them, and the operating system gives a lease back when its process dies, however that dies. (A
process that a unit has forked, and that lives on, keeps it.)
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from daskresearch.errors import ClusterError
from daskresearch.store.files.base import safe_name
from daskresearch.worker.wanted import is_halted

logger = logging.getLogger(__name__)

Device = int | str

_NONE = ("-1", "NoDevFiles", "void")
_AGAIN_S = 0.02
_MEMORY_S = 0.5
_LONG_S = 30


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
    n_slices : int
        Into how many parts a device is divided, the same for all of the run.
    memory_ratio : float, optional
        The part of the memory of a device that must be free before an experiment begins.
    """

    token: str
    ids: tuple[Device, ...] = ()
    n_own: int = 0
    need: int = 1
    share: float = 1.0
    n_slices: int = 1
    memory_ratio: float | None = None

    @property
    def n_taken(self) -> int:
        """How many of the slices of a device an experiment takes."""
        return math.ceil(self.share * self.n_slices - 1e-9)

    def known(self) -> tuple[Device, ...]:
        """Return the ids of the devices in this process: those that are given, as far as it sees them."""
        if self.ids:
            own = devices_of_process() if os.environ.get("CUDA_VISIBLE_DEVICES") else self.ids
            seen = {str(one) for one in own}
            return tuple([one for one in self.ids if str(one) in seen])
        # a worker that joins later has as many as are needed, or no task would come to it
        return devices_of_process() or tuple(range(max(self.n_own, self.need)))


def devices_of_process() -> tuple[Device, ...]:
    """Return the GPUs that this process may use: those that ``CUDA_VISIBLE_DEVICES`` names, else all of the machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
        names = list(itertools.takewhile(lambda name: name not in _NONE, names))  # as CUDA reads it
        return tuple([int(name) if name.isdigit() else name for name in names])
    nvml = _nvml()
    return () if nvml is None else tuple(range(nvml.nvmlDeviceGetCount()))


class HaltedError(Exception):
    """The run is over for what waits for a device."""


@contextlib.contextmanager
def leased(devices: Devices | None) -> Iterator[Device | list[Device] | None]:
    """Return a context that holds devices, waiting for them.

    Yields
    ------
    int, str, list or None
        The id of the device, all ids if there are several, None if none are asked for.
    """
    if devices is None:
        yield None
        return
    ids, locks = _acquired(devices)
    try:
        for one in ids if devices.memory_ratio else ():
            _await_memory(one, devices.memory_ratio or 0)
        yield ids[0] if devices.need == 1 else ids
    finally:
        for lock in locks:
            lock.release()


def _acquired(devices: Devices) -> tuple[list[Device], list[Any]]:
    """Return the ids that were acquired and the locks that hold them: all that are needed, or none for the moment."""
    known = devices.known()
    if len(known) < devices.need:
        raise ClusterError(
            f"an experiment needs {devices.need} devices, of which this process has {list(known)}"
            + (
                f": devices={list(devices.ids)} are asked for, and it sees {list(devices_of_process())}; give ids that "
                f"all workers see, or leave devices out"
                if devices.ids
                else ""
            )
        )
    folder = _folder(devices.token)
    os.makedirs(folder, exist_ok=True)
    waits_since_s = time.monotonic()
    while True:
        if is_halted(devices.token):
            raise HaltedError
        ids: list[Device] = []
        locks: list[Any] = []
        for one in random.sample(known, len(known)):
            slices = _taken(os.path.join(folder, safe_name(str(one))), devices)
            if slices:
                ids.append(one)
                locks += slices
                if len(ids) == devices.need:
                    return sorted(ids, key=known.index), locks
        for lock in locks:  # whoever waits holds nothing, so that no two wait for each other
            lock.release()
        if time.monotonic() > waits_since_s + _LONG_S:
            logger.info("an experiment waits for %d of the devices %s", devices.need, list(known))
            waits_since_s = math.inf
        time.sleep(_AGAIN_S * (0.5 + random.random()))


def _taken(path: str, devices: Devices) -> list[Any]:
    """Return the locks of the slices of a device that were taken: as many as are needed, or none."""
    from filelock import FileLock, Timeout

    locks: list[Any] = []
    for place in range(devices.n_slices):
        lock = FileLock(f"{path}.{place}", thread_local=False)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            locks.append(lock)
            if len(locks) == devices.n_taken:
                return locks
    for lock in locks:
        lock.release()
    return []


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
        handle = (
            nvml.nvmlDeviceGetHandleByIndex(device)
            if by_index
            else nvml.nvmlDeviceGetHandleByUUID(device)
        )
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        if memory.free >= ratio * memory.total:
            return
        if not is_told:
            logger.warning(
                "waiting for %.0f %% of the memory of device %s to be free", 100 * ratio, device
            )
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
