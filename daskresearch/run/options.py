"""The options of a run, checked when they are given."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, final

from daskresearch.counts import as_count, is_integer
from daskresearch.errors import OptionError, near_miss
from daskresearch.execute import DISTRIBUTED, SCHEDULERS
from daskresearch.store.failure import FailureKind
from daskresearch.watch.observer import Observer

_RETRIED = (FailureKind.EXCEPTION.value, FailureKind.TIMEOUT.value, FailureKind.WORKER.value)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _Unset(Enum):
    """The mark of an option that was not given."""

    UNSET = "default"

    def __repr__(self) -> str:
        return "<default>"


UNSET: Any = _Unset.UNSET
"""Stands for the default of an option, which `Research.options` may change."""


@final
@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run, with the values that they have if nobody gives them.

    `Research.run` repeats their names and types in its signature, and says in its docstring what
    they mean. A signature made from this class would be shown by ``help()``, but neither by editors
    nor by type checkers, which run no code; so both are written out, and a test compares them.
    """

    name: str | None = None
    workers: int | None = None
    branches: int | Sequence[Mapping[str, Any]] | None = None
    n_iters: int | None = None
    dump_results: bool = True
    scheduler: Any = None
    parallel: bool = True
    executor_target: str = "threads"
    bar: bool = True
    detach: bool = False
    debug: bool = False
    finalize: bool = True
    seed: int | None = None
    create_id_prefix: bool = False
    resume: bool | str = False
    loglevel: str = "info"
    redirect_stdout: bool | int = True
    redirect_stderr: bool | int = True
    git_meta: bool = False
    env_meta: bool = False
    profile: bool | int = False
    retries: int | Mapping[str, int] = 0
    timeout: float | None = None
    devices: Sequence[int | str] | None = None
    device_share: float = 1
    memory_ratio: float | None = None
    observers: Sequence[Observer] = ()

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> RunOptions:
        """Return the options of mappings, of which later ones override, but for `UNSET`.

        Raises
        ------
        OptionError
            If there is no option of a name, or it cannot have its value.

        Examples
        --------
        >>> RunOptions.of({"n_iters": 2, "seed": 1}, {"n_iters": 3, "seed": UNSET}).n_iters
        3
        """
        given = {
            name: value for layer in layers for name, value in layer.items() if value is not UNSET
        }
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise OptionError(
                    f"a run has no option {name!r}{near_miss(name, names)}; there are "
                    f"{', '.join(names)}"
                )
        if isinstance(given.get("name"), os.PathLike):
            given["name"] = os.fspath(given["name"])
        return cls(**given)

    def __post_init__(self) -> None:
        for name in ("workers", "n_iters"):
            object.__setattr__(self, name, as_count(name, getattr(self, name), OptionError))
        if isinstance(self.branches, (list, tuple)):
            if not self.branches:
                raise OptionError(
                    "branches is an empty list; give one config for each member of a group"
                )
        elif isinstance(self.branches, Mapping):
            raise OptionError(
                f"branches must be a count or a list of configs, not {self.branches!r}; use "
                f"[{{...}}]"
            )
        elif self.branches is not None and not is_integer(self.branches):
            raise OptionError(
                "branches must be a positive integer or a list of configs as dicts, not "
                f"{self.branches!r}"
            )
        else:
            object.__setattr__(self, "branches", as_count("branches", self.branches, OptionError))
        if self.name is not None and not isinstance(self.name, str):
            raise OptionError(f"name must be a str, not {self.name!r}")
        if self.seed is not None and not (is_integer(self.seed) and self.seed >= 0):
            raise OptionError(f"seed must be a non-negative integer, not {self.seed!r}")
        if self.executor_target not in ("threads", "for"):
            raise OptionError(
                f"executor_target must be 'threads' or 'for', not {self.executor_target!r}"
            )
        schedulers = (*SCHEDULERS, *DISTRIBUTED)
        if isinstance(self.scheduler, str) and self.scheduler.lower() not in schedulers:
            raise OptionError(
                f"scheduler {self.scheduler!r} is none of {sorted(schedulers)} and no "
                f"distributed.Client{near_miss(self.scheduler, schedulers)}"
            )
        is_client = hasattr(self.scheduler, "submit") and hasattr(self.scheduler, "scheduler_info")
        if self.scheduler is not None and not isinstance(self.scheduler, str) and not is_client:
            raise OptionError(
                f"scheduler must be the name of one or a distributed.Client, not {self.scheduler!r}"
            )
        self._check_observers()
        self._check_recording()
        self._check_limits()
        self._check_devices()

    def _check_limits(self) -> None:
        given = (
            self.retries.items()
            if isinstance(self.retries, Mapping)
            else [(FailureKind.EXCEPTION, self.retries)]
        )
        for kind, count in given:
            if kind not in _RETRIED:
                raise OptionError(
                    f"retries has no kind {kind!r}{near_miss(str(kind), _RETRIED)}; give {_RETRIED}"
                )
            if not is_integer(count) or count < 0:
                raise OptionError(
                    "retries must be a non-negative integer, or a dict of these, not "
                    f"{self.retries!r}"
                )
        is_number = isinstance(self.timeout, (int, float)) and not isinstance(self.timeout, bool)
        if self.timeout is not None and not (is_number and 0 < self.timeout < math.inf):
            raise OptionError(
                f"timeout must be a positive number of seconds, or None, not {self.timeout!r}"
            )

    def _check_devices(self) -> None:
        if self.devices is not None:
            ids = list(self.devices) if isinstance(self.devices, (list, tuple, range)) else None
            is_id = [
                (is_integer(device) and device >= 0) or (isinstance(device, str) and device != "")
                for device in ids or ()
            ]
            if not ids or not all(is_id) or len(set(map(str, ids))) < len(ids):
                raise OptionError(
                    f"devices must be a list of different ids, such as [0, 1], not {self.devices!r}"
                )
            object.__setattr__(self, "devices", tuple(ids))
        for name in ("device_share", "memory_ratio"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and 0 < value <= 1) and not (
                value is None and name == "memory_ratio"
            ):
                raise OptionError(
                    f"{name} must be a part of a device, above 0 and at most 1, not {value!r}"
                )

    @property
    def retries_by_kind(self) -> dict[str, int]:
        """How often an experiment runs again, by the kind of its failure."""
        if isinstance(self.retries, Mapping):
            return {kind: int(count) for kind, count in self.retries.items() if count}
        return dict.fromkeys(_RETRIED, int(self.retries)) if self.retries else {}

    def _check_observers(self) -> None:
        given: Any = self.observers
        if not isinstance(given, (list, tuple)):
            raise OptionError(
                f"observers must be a list of Observer objects, not {given!r}; use [observer]"
            )
        for observer in given:
            if not isinstance(observer, Observer):
                is_class = isinstance(observer, type) and issubclass(observer, Observer)
                way_out = (
                    f"; make one, {observer.__name__}()"
                    if is_class
                    else "; subclass daskresearch.Observer"
                )
                raise OptionError(
                    f"an observer must be an Observer object, not {observer!r}{way_out}"
                )
        object.__setattr__(self, "observers", tuple(given))

    def _check_recording(self) -> None:
        if self.resume not in (False, True, "changed"):
            raise OptionError(f"resume must be True, False or 'changed', not {self.resume!r}")
        if self.resume and not self.dump_results:
            raise OptionError(
                "resume goes on with the folder of a research, which dump_results=False does not "
                "use"
            )
        if not isinstance(self.profile, int) or self.profile not in range(3):
            raise OptionError(
                "profile must be False, True (units) or 2 (functions in them, too), not "
                f"{self.profile!r}"
            )
        for name in ("redirect_stdout", "redirect_stderr"):
            mode = getattr(self, name)
            if not isinstance(mode, int) or mode not in range(4):
                raise OptionError(
                    f"{name} must be False, True, 2 (a file for each experiment) or 3, not {mode!r}"
                )
        if not isinstance(self.loglevel, str) or self.loglevel.upper() not in _LEVELS:
            raise OptionError(
                f"loglevel must be one of {[level.lower() for level in _LEVELS]}, not "
                f"{self.loglevel!r}"
            )

    @property
    def level(self) -> int:
        """The number of the level of logging."""
        return int(getattr(logging, self.loglevel.upper()))
