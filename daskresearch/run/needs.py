"""What experiments need beside time: devices and other resources, as units and options ask for them."""

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
        What is taken of the resources of a Dask worker: by each steady root, and by an experiment under the name
        ``''``.
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
    holders = {name: _devices(one, options, token) for name, one in taken.items()}
    for name, one in holders.items():
        if one is not None:
            taken[name] = {**taken[name], GPU: one.need * one.share}
    n_slices = max(
        [int(1 / one.share + 1e-9) for one in holders.values() if one is not None], default=1
    )
    divided = {
        name: one._replace(n_slices=n_slices) for name, one in holders.items() if one is not None
    }
    devices = divided.pop("", None)
    return Needs(devices, divided, taken)


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
            f"units ask for {need} devices at once, but devices={list(ids)} are {len(ids)}; give more"
        )
    share = min(float(options.device_share), float(amount))
    return Devices(token, ids, need=need, share=share, memory_ratio=options.memory_ratio)


def needs_here(needs: Needs) -> Needs:
    """Return what experiments need where roots run beside them: as much as any root, which holds what they hold."""
    devices = needs.devices
    if devices is None:
        return needs
    every = [devices, *needs.roots.values()]
    most = devices._replace(
        need=max(one.need for one in every), share=max(one.share for one in every)
    )
    return needs._replace(devices=most)


def check_here(needs: Needs) -> None:
    """Refuse to run in processes of this machine what they have no devices for.

    Raises
    ------
    OptionError
        If they are too few.
    """
    for one in filter(None, (needs.devices, *needs.roots.values())):
        known = one.known() if one.ids else devices_of_process()
        if one.ids and len(known) < one.need:
            raise OptionError(
                f"of devices={list(one.ids)} this process sees {list(known)}, as CUDA_VISIBLE_DEVICES names "
                f"{list(devices_of_process())}; give ids that it names"
            )
        if len(known) < one.need:
            raise OptionError(
                f"units ask for {one.need} GPU, and this machine has {list(known)}; give the ids of devices, as by "
                f"devices=[0, 1], or a Client whose workers have the resource GPU"
            )
