"""What a lazy graph costs before anything runs.

That is fingerprints of code and values, the graph, its way, and a preview.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.floors import small_values
from benchmarks.floors_shared import (
    SHARED,
    advance,
    advance_with_helper,
    combine,
    digest_by_hand,
    digest_of_array,
    distinct_by_hand,
    graph_by_hand,
    graph_of_delayed,
    shared,
)
from benchmarks.measure import Row, Sizes, Target, WrongRowsError, in_turn
from benchmarks.workloads import check_table
from daskresearch import EC, Domain, O, Research
from daskresearch.content.fingerprint import Fingerprints, combined
from daskresearch.graph import lower, trace
from daskresearch.lazy.build import uncollected
from daskresearch.run.job import Job
from daskresearch.run.options import RunOptions
from daskresearch.run.preparation import Preparation
from daskresearch.worker import Blob, Carried

if TYPE_CHECKING:
    from dask._expr import Expr
    from dask.highlevelgraph import HighLevelGraph

_BY_HAND, _DELAYED, _SET = "tasks by hand", "dask.delayed", "loop and set"
_MOST_OTHERS = 5
_CODE, _SHA = "digest of its code by hand", "hashlib.sha256"


def keys(sizes: Sizes) -> list[Row]:
    """Take fingerprints of functions, of code seen before and new, and of an array."""
    _check_fingerprints()
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    texts = {"a function": advance, "a function and its helper": advance_with_helper}
    for text, function in texts.items():
        functions[text, "ours"] = partial(_digest, function)
        functions[text, "floor"] = partial(digest_by_hand, function)
        functions[f"{text}, never seen", "ours"] = _of_renamed(_digest, function)
        functions[f"{text}, never seen", "floor"] = _of_renamed(digest_by_hand, function)
    times_s = in_turn(functions, sizes.n_rounds)
    # what a process has seen once it keeps, so that the bound is for what a run pays
    targets = {"a function": Target(30)}
    rows = [
        Row(
            f"fingerprint of {text}",
            1e6 * ours,
            1e6 * times_s[text, "floor"],
            "µs",
            _CODE,
            targets.get(text),
        )
        for (text, of), ours in times_s.items()
        if of == "ours"
    ]
    array = np.random.default_rng(0).random(sizes.array_mb * 10**6 // 8)
    both = {"ours": lambda: Fingerprints().value(array), _SHA: lambda: digest_of_array(array)}
    in_ms = {
        name: 1000 * seconds / sizes.array_mb
        for name, seconds in in_turn(both, sizes.n_rounds).items()
    }
    text = f"fingerprint of an array of {sizes.array_mb} MB"
    return [*rows, Row(text, in_ms["ours"], in_ms[_SHA], "ms a MB", _SHA, Target(2))]


def graph(sizes: Sizes) -> list[Row]:
    """Make the graph of many experiments with a root, up to what a scheduler is sent."""
    n, n_delayed = sizes.n_nodes, sizes.n_delayed
    _check_graphs(min(n, 1_000), n)
    functions: dict[str, Callable[[], object]] = {
        "ours": lambda: _research(n).__dask_graph__(),
        "traced": _traced_and_lowered(n),
        _BY_HAND: partial(graph_by_hand, n),
        _DELAYED: partial(graph_of_delayed, n_delayed),
    }
    times_s = in_turn(functions, sizes.n_long_rounds)
    a_node = {name: 1e6 * seconds / n for name, seconds in times_s.items()} | {
        _DELAYED: 1e6 * times_s[_DELAYED] / n_delayed
    }
    to_send = in_turn(
        {"ours": partial(_sent, n), _BY_HAND: partial(_sent_by_hand, n)}, sizes.n_long_rounds
    )
    text = f"graph of {n:,} experiments"
    return [
        Row(
            f"{text}, traced and lowered",
            a_node["traced"],
            a_node[_BY_HAND],
            "µs a node",
            _BY_HAND,
            Target(15),
        ),
        Row(
            f"{text}, from the domain on",
            times_s["ours"],
            times_s[_BY_HAND],
            "s",
            _BY_HAND,
            Target(4),
        ),
        Row(
            f"{text}, from the domain on",
            a_node["ours"],
            a_node[_DELAYED],
            "µs a node",
            f"{_DELAYED}, {n_delayed:,}",
        ),
        Row(f"{text}, as it is sent", to_send["ours"], to_send[_BY_HAND], "s", _BY_HAND),
        Row(
            f"{text}, sent",
            _sent(n) / n,
            _sent_by_hand(n) / n,
            "bytes a task",
            _BY_HAND,
            Target(500),
        ),
    ]


def preview(sizes: Sizes) -> list[Row]:
    """Count what would run for very many configs."""
    n = sizes.n_previewed
    _check_preview(n)
    functions: dict[str, Callable[[], object]] = {
        "ours": lambda: _with_loads(n).preview(),
        _SET: partial(distinct_by_hand, n),
    }
    in_ms = {name: 1000 * seconds for name, seconds in in_turn(functions, sizes.n_rounds).items()}
    return [Row(f"preview of {n:,} configs", in_ms["ours"], in_ms[_SET], "ms", _SET)]


def _digest(function: Callable[..., Any]) -> bytes:
    return combined(Fingerprints().function(function))


def _of_renamed(
    digest: Callable[[Any], bytes], function: types.FunctionType
) -> Callable[[], bytes]:
    """Return what digests a new copy of a function each time.

    Making the copy takes about a microsecond.
    """
    numbers = itertools.count()
    return lambda: digest(_copy(function, co_name=f"copy_{next(numbers)}"))


def _copy(
    function: types.FunctionType, scope: dict[str, Any] | None = None, **changes: Any
) -> types.FunctionType:
    """Return a copy of a function with its code changed, in another scope if given."""
    code = function.__code__.replace(**changes)
    scope = function.__globals__ if scope is None else scope
    return types.FunctionType(code, scope, function.__name__, function.__defaults__)


def _research(n_experiments: int) -> Research:
    """Return a research of functions that were written in a notebook."""
    a, b = small_values(n_experiments)
    notebook = {"__name__": "__main__", "SHARED": SHARED}
    root, branch = [_copy(function, notebook) for function in (shared, combine)]
    research = Research(domain=Domain(a=a, b=b)).add_callable("shared", root, root=True)
    return research.add_callable(
        "combine", branch, args=[O("shared"), EC("a"), EC("b")], save_to="output"
    )


def _traced_and_lowered(n_experiments: int) -> Callable[[], object]:
    """Return what makes a graph of experiments that have configs, ids and seeds."""
    research = _research(n_experiments)
    prepared = Preparation(Job(research.plan, research.domain), RunOptions(seed=1))
    groups = list(prepared.groups(research.domain, remembers=False))

    def make() -> object:
        with uncollected():  # as where a research makes its graph
            nodes = trace(prepared.program, prepared.keys, groups)
            return lower(
                nodes, prepared.program, prepared.keys, Blob("plan", Carried(prepared.plan))
            )

    return make


def _with_loads(n_experiments: int) -> Research:
    """Return a research whose root reads a parameter with many values."""
    a, b = small_values(n_experiments)
    research = Research(domain=Domain(a=a, b=b)).add_callable(
        "load", abs, args=[EC("a")], root=True
    )
    return research.add_callable(
        "combine", combine, args=[O("load"), EC("a"), EC("b")], save_to="output"
    )


def _sent(n_experiments: int) -> int:
    from dask.base import collections_to_expr

    return _sent_bytes(collections_to_expr([_research(n_experiments)], True))


def _sent_by_hand(n_experiments: int) -> int:
    from dask._expr import HLGExpr
    from dask.delayed import Delayed

    by_hand = graph_by_hand(n_experiments)
    outputs = _outputs_of(by_hand)
    return _sent_bytes(
        HLGExpr(
            by_hand,
            low_level_optimizer=Delayed.__dask_optimize__,
            output_keys=outputs,
            postcompute=(list, ()),
        )
    )


def _sent_bytes(expr: Expr) -> int:
    """Return the length of what a Client sends to its scheduler for collections."""
    from dask._expr import FinalizeCompute
    from distributed.protocol import serialize, to_serialize
    from distributed.utils import nbytes

    _, frames = serialize(to_serialize(FinalizeCompute(expr).optimize()), on_error="raise")
    return sum(map(nbytes, frames))


def _outputs_of(by_hand: HighLevelGraph) -> list[str]:
    return [key for key in by_hand if key != "shared"]


def _check_fingerprints() -> None:
    """See that fingerprints tell apart what the floors tell apart, and more."""
    line = _copy(advance, co_firstlineno=1)
    default = _copy(advance)
    default.__defaults__ = (4,)
    rate = _copy(advance, {**advance.__globals__, "RATE": 0.25})
    helper = _copy(advance_with_helper, {**advance_with_helper.__globals__, "_moved": default})
    _check_same("a function on another line", _digest(advance), [_digest(line)])
    _check_other("another default or global", _digest(advance), [_digest(default), _digest(rate)])
    _check_other("another helper", _digest(advance_with_helper), [_digest(helper)])
    array = np.arange(1_000.0)
    edited = array.copy()
    edited[-1] += 1
    _check_same(
        "a copy of an array", Fingerprints().value(array), [Fingerprints().value(array.copy())]
    )
    _check_other("an edited array", Fingerprints().value(array), [Fingerprints().value(edited)])


def _check_same(what: str, digest: bytes, others: Sequence[bytes]) -> None:
    if {digest, *others} != {digest}:
        raise WrongRowsError(f"{what} has another fingerprint")


def _check_other(what: str, digest: bytes, others: Sequence[bytes]) -> None:
    if digest in others:
        raise WrongRowsError(f"{what} has the same fingerprint")


def _check_graphs(n_run: int, n_nodes: int) -> None:
    """See that graphs give the same outputs, and that ours has as many tasks.

    It may have few beside them, as for the plan.
    """
    import dask
    from dask.local import get_sync

    by_hand = graph_by_hand(n_run)
    outputs = get_sync(by_hand, _outputs_of(by_hand))
    expected = [
        (a, b, output)
        for (a, b), output in zip(itertools.product(*small_values(n_run)), outputs, strict=True)
    ]
    (frame,) = dask.compute(_research(n_run), scheduler="sync")
    check_table(frame.drop(columns="iteration"), ["a", "b", "output"], expected, n_run)
    layers = _research(n_nodes).__dask_graph__().layers
    sizes = {name.rpartition("-")[0]: len(layer) for name, layer in layers.items()}
    own = {name: sizes[name] for name in ("shared", "combine")}
    if own != {"shared": 1, "combine": n_nodes} or sum(sizes.values()) > n_nodes + _MOST_OTHERS:
        raise WrongRowsError(
            f"a graph of {sizes} tasks, not of one for each experiment and one that they share"
        )
    n_tasks = [len(made) - 1 for made in (graph_by_hand(n_nodes), graph_of_delayed(n_run))]
    if n_tasks != [n_nodes, n_run]:
        raise WrongRowsError(f"floors of {n_tasks} tasks, not of {[n_nodes, n_run]}")


def _check_preview(n_configs: int) -> None:
    counted = _with_loads(n_configs).preview()
    calls = dict(zip(counted["unit"], counted["calls"], strict=True))
    if calls != distinct_by_hand(n_configs):
        raise WrongRowsError(f"the preview counts {calls}, not {distinct_by_hand(n_configs)}")
