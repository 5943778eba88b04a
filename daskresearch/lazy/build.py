"""A research as a Dask graph: built from a preparation, in the form that Dask's collections have."""

from __future__ import annotations

import gc
import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import OptionError, PlanError
from daskresearch.graph import (
    Counts,
    Experiments,
    TaskNode,
    count,
    lower,
    lower_rows,
    trace,
    warn_of_large_arguments,
)
from daskresearch.lazy.frames import Columns, rows_of
from daskresearch.run.needs import needs_of
from daskresearch.run.preparation import Preparation, refuse_live_results
from daskresearch.worker import Blob, Carried
from daskresearch.worker.folders import temporary_folder
from daskresearch.worker.pickling import pickle_plan, process_token

if TYPE_CHECKING:
    from dask.highlevelgraph import HighLevelGraph


@final
@dataclass(frozen=True, eq=False)
class LazyGraph:
    """A Dask graph whose outputs make the table of a research.

    Attributes
    ----------
    graph : HighLevelGraph or Mapping
    keys : tuple of str
        Its outputs: experiments, or groups in lock-step, in domain order.
    sizes : tuple of int
        How many experiments each output holds.
    columns : Columns
    token : bytes
        Stands for the code, values and options that it was built from.
    is_held : bool
        Whether the graph holds its outputs already, or will.
    """

    graph: Any
    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    columns: Columns
    token: bytes
    is_held: bool = False

    def persisted(self, graph: Any) -> LazyGraph:
        """Return the same outputs in a graph that holds them already, or will."""
        return replace(self, graph=graph, is_held=True)

    def rows(self) -> tuple[HighLevelGraph, str, list[str]]:
        """Return the graph with the table of each experiment as an output, and the layer and keys of these."""
        return lower_rows(
            self.graph, list(zip(self.keys, self.sizes, strict=True)), rows_of, self.columns
        )


def token_of(prepared: Preparation) -> bytes:
    """Return what stands for everything that a graph is built from.

    Raises
    ------
    HashError
        If a unit cannot be hashed.
    """
    iterated = (prepared.seed, prepared.options.branches, prepared.iter_params(prepared.job.domain))
    pieces = (
        prepared.keys.digest
        + _context_of(prepared)
        + repr(iterated).encode("utf-8", "surrogatepass")
    )
    return hashlib.blake2b(pieces, digest_size=16).digest()


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from going through a growing graph again and again, of which nothing is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _context_of(prepared: Preparation, folder: str = "") -> bytes:
    """Return what stands for all that experiments have in common but the plan."""
    options = prepared.options
    kept = (
        prepared.n_iters,
        options.finalize,
        options.debug,
        options.executor_target,
        prepared.parameters,
        folder,
    )
    return repr(kept).encode("utf-8", "surrogatepass")


def _traced(prepared: Preparation, context: bytes) -> Iterator[TaskNode]:
    groups = prepared.groups(prepared.job.domain, remembers=False)
    return trace(prepared.program, prepared.keys, groups, context)


def _refuse_update(prepared: Preparation) -> None:
    if prepared.job.update is not None:
        raise PlanError(
            "the domain of this research changes while it runs (update_domain), so its graph is not known before; "
            "use run() or compute()"
        )


def _refuse_devices(prepared: Preparation) -> None:
    options = prepared.options
    for name, value, default in [
        ("devices", options.devices, None),
        ("device_share", options.device_share, 1),
        ("memory_ratio", options.memory_ratio, None),
    ]:
        if value != default:
            raise OptionError(
                f"{name}={value!r} is for run() and compute(): the tasks of a graph hold no devices; with "
                f"resources={{'GPU': 1}} of a unit Dask counts those of its workers"
            )


def first_nodes(prepared: Preparation, most: int) -> tuple[list[TaskNode], int]:
    """Return the first nodes of a graph, and how many more there are."""
    _refuse_update(prepared)
    nodes = list(itertools.islice(_traced(prepared, _context_of(prepared)), most))
    n_nodes = counts_of(prepared).n_nodes
    return nodes, max(0, (n_nodes or 0) - len(nodes))


def counts_of(prepared: Preparation, most: int | None = None) -> Counts:
    """Return how many calls the experiments of a preparation make; see `count`."""
    domain = prepared.job.domain
    experiments = Experiments(
        domain.node,
        prepared.iter_params(domain),
        prepared.seed,
        prepared.length,
        tuple(prepared.appended),
    )
    return count(
        prepared.plan, prepared.program, prepared.keys, experiments, prepared.n_iters, most
    )


def build(prepared: Preparation, owner: Any) -> LazyGraph:
    """Return the graph of a preparation.

    Parameters
    ----------
    prepared : Preparation
    owner : object
        The folders of experiments, if there are any, live as long as it does.

    Raises
    ------
    HashError
        If a unit cannot be hashed.
    PlanError
        If the experiments are not known before they run.
    OptionError
        If experiments are to hold devices of given ids.
    """
    _refuse_update(prepared)
    refuse_live_results(prepared.job.plan)
    warn_of_large_arguments(prepared.job.plan)
    _refuse_devices(prepared)
    resources = needs_of(
        prepared.program, prepared.plan.units, prepared.options, token=""
    ).resources
    folder = temporary_folder(owner) if prepared.uses_folder else ""
    token = token_of(prepared)
    apart = frozenset(prepared.program.calls_reached)
    carried = Carried((prepared.plan, replace(prepared.context(folder), apart=apart)), pickle_plan)
    context = _context_of(prepared, folder)
    blob = Blob(
        hashlib.blake2b(prepared.keys.digest + context, digest_size=16).hexdigest(), carried
    )
    with uncollected():
        lowered = lower(
            _traced(prepared, context), prepared.program, prepared.keys, blob, resources
        )
    columns = Columns(prepared.parameters, prepared.job.plan.variables, process_token())
    return LazyGraph(lowered.graph, tuple(lowered.keys), tuple(lowered.sizes), columns, token)
