"""What experiments need beside time: devices and other resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from daskresearch.errors import OptionError, PlanError
from daskresearch.plan import Unit
from daskresearch.run.options import RunOptions
from daskresearch.worker import Program
from daskresearch.worker.devices import Devices, devices_of_process

GPU = "GPU"


class Needs(NamedTuple):
    """What experiments and roots hold while they run.

    Attributes
    ----------
    devices : Devices, optional
        None if experiments hold none.
    roots : dict of str to Devices
        Those of steady roots that ask for some.
    resources : dict of str to dict of str to float
        What is taken of the resources of a Dask worker: by each steady root, and by an experiment
        under the name ``''``.
    """

    devices: Devices | None
    roots: dict[str, Devices]
    resources: dict[str, dict[str, float]]


def needs_of(program: Program, units: Iterable[Unit], options: RunOptions, token: str) -> Needs:
    """Return what the experiments of a plan need.

    Raises
    ------
    OptionError, PlanError
        If a unit asks for what no run with these options could give.
    """
    steady = {name for name, root in program.roots.items() if root.is_steady}
    units = list(units)
    resources: dict[str, float] = {}
    for unit in units:
        if unit.name not in steady:
            for name, amount in unit.resources.items():
                resources[name] = max(resources.get(name, 0), _checked(unit, name, amount))
    if options.devices is not None:
        resources.setdefault(GPU, 1)
    taken = {"": resources} | {
        unit.name: {name: _checked(unit, name, amount) for name, amount in unit.resources.items()}
        for unit in units
        if unit.name in steady
    }
    asked = {name: _devices(amounts, options, token) for name, amounts in taken.items()}
    holders = {name: devices for name, devices in asked.items() if devices is not None}
    for name, devices in holders.items():
        taken[name] = {**taken[name], GPU: devices.need * devices.share}
    # the smallest share says into how many slices each device is divided
    slices = [int(1 / devices.share + 1e-9) for devices in holders.values()]
    n_slices = max(slices, default=1)
    divided = {name: devices._replace(n_slices=n_slices) for name, devices in holders.items()}
    of_experiments = divided.pop("", None)
    return Needs(of_experiments, divided, taken)


def _checked(unit: Unit, name: str, amount: object) -> float:
    if (
        isinstance(amount, bool)
        or not isinstance(amount, (int, float))
        or not 0 < amount < float("inf")
    ):
        raise PlanError(f"unit {unit.name!r} asks for {name} {amount!r}; give a positive number")
    if name == GPU and amount > 1 and amount != int(amount):
        raise PlanError(
            f"unit {unit.name!r} asks for {amount} GPUs; give whole ones, or a part of one"
        )
    return amount


def _devices(resources: Mapping[str, float], options: RunOptions, token: str) -> Devices | None:
    amount = resources.get(GPU)
    if amount is None:
        return None
    ids = tuple(options.devices or ())
    need = max(1, int(amount))
    if options.devices is not None and need > len(ids):
        raise OptionError(
            f"units ask for {need} devices at once, but devices={list(ids)} are {len(ids)}; give "
            "more"
        )
    share = min(float(options.device_share), float(amount))
    return Devices(token, ids, need=need, share=share, memory_ratio=options.memory_ratio)


def needs_here(needs: Needs) -> Needs:
    """Return what experiments need where roots use the devices of experiments."""
    devices = needs.devices
    if devices is None:
        return needs
    every = [devices, *needs.roots.values()]
    need, share = max([each.need for each in every]), max([each.share for each in every])
    return needs._replace(devices=devices._replace(need=need, share=share))


def check_here(needs: Needs) -> None:
    """Refuse to run on this machine what it has too few devices for.

    Raises
    ------
    OptionError
        If this process sees too few.
    """
    for devices in filter(None, (needs.devices, *needs.roots.values())):
        seen = devices.known() if devices.ids else devices_of_process()
        if devices.ids and len(seen) < devices.need:
            raise OptionError(
                f"of devices={list(devices.ids)} this process sees {list(seen)}, as "
                f"CUDA_VISIBLE_DEVICES names {list(devices_of_process())}; give ids that it names"
            )
        if len(seen) < devices.need:
            raise OptionError(
                f"units ask for {devices.need} GPU, and this machine has {list(seen)}; give the "
                "ids of devices, as by devices=[0, 1], or a Client whose workers have the "
                "resource GPU"
            )
