"""From nodes to a Dask graph: the only place that makes tasks.

A graph has one layer for each root unit, one for the experiments, one for what is large and shared, and those of the
Dask collections that units were given. Users' code travels in a node of its own, as bytes that no scheduler unpickles.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.domain.experiment import RootKey
from daskresearch.graph.inputs import alone
from daskresearch.graph.trace import Node, NodeKind
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.plan import Expression, Plan
from daskresearch.worker import (
    Blob,
    Carried,
    Elsewhere,
    Program,
    departing,
    given,
    is_small,
    run_node,
    run_root_alone,
)
from daskresearch.worker.pickling import pickle_unit

if TYPE_CHECKING:
    from dask.highlevelgraph import HighLevelGraph

LARGE_BYTES = 1_000_000
"""From this size on an argument is worth a warning."""
_SHARED_BYTES = 64_000


class Lowered(NamedTuple):
    """A Dask graph of a research.

    Attributes
    ----------
    graph : HighLevelGraph
    keys : list of str
        Of the nodes of experiments and groups, in domain order.
    sizes : list of int
        How many experiments each holds.
    """

    graph: HighLevelGraph
    keys: list[str]
    sizes: list[int]


def lower(
    nodes: Iterable[Node],
    program: Program,
    keys: PlanKeys,
    blob: Blob,
    resources: Mapping[str, Mapping[str, float]] | None = None,
) -> Lowered:
    """Return the Dask graph of traced nodes.

    Nodes of equal keys have equal tasks, of whichever research: a scheduler that knows a key never looks at the task
    again.

    Parameters
    ----------
    nodes : iterable of Node
        Each behind those whose outputs it takes.
    program : Program
    keys : PlanKeys
    blob : Blob
        The plan and context; its token stands for both.
    resources : Mapping of str to Mapping, optional
        What each root takes of the resources of its worker, and an experiment under the name ``''``.

    Examples
    --------
    >>> from daskresearch import Research
    >>> research = Research().add_callable("load", len, args=["abc"], root=True).add_callable("show", print)
    >>> sorted(layer.partition("-")[0] for layer in research.__dask_graph__().layers)
    ['code', 'load', 'plan', 'show']
    """
    return _Lowering(program, keys, blob, resources or {}).lowered(nodes)


class _Lowering:
    """A graph while it is made."""

    def __init__(
        self,
        program: Program,
        keys: PlanKeys,
        blob: Blob,
        resources: Mapping[str, Mapping[str, float]],
    ) -> None:
        from dask.task_spec import DataNode, Task, TaskRef

        self._task, self._data, self._ref = Task, DataNode, TaskRef
        self._program = program
        self._keys = keys
        self._resources = resources
        self._layers: dict[tuple[str, NodeKind | None], dict[Any, Any]] = {}
        self._codes: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._plan = self._shared("plan", blob.token, blob)
        self._collections: list[Any] = []
        self._known: dict[tuple[str, ...], tuple[tuple[RootKey, ...], tuple[Any, ...]]] = {}
        self._carried: dict[int, tuple[Any, Any]] = {}

    def lowered(self, nodes: Iterable[Node]) -> Lowered:
        """Return the graph of the nodes."""
        keys, sizes = [], []
        for node in nodes:
            layer = self._layers.get((node.name, node.kind))
            if layer is None:
                layer = self._layers[node.name, node.kind] = {}
            if node.kind is NodeKind.INPUT:
                layer[node.key] = self._input(node)
            elif node.kind is NodeKind.ROOT:
                layer[node.key] = self._root(node)
            else:
                layer[node.key] = self._experiments(node)
                keys.append(node.key)
                sizes.append(len(node.experiments))
        return Lowered(self._graph(), keys, sizes)

    def _shared(self, name: str, digest: str, content: Any) -> Any:
        """Return a reference to a node that holds something, which is made if it is not there."""
        key = f"{name}-{digest}"
        layer = self._layers.setdefault((name, None), {})  # apart from units of that name
        if key not in layer:
            layer[key] = self._data(key, content)
        return self._ref(key)

    def _input(self, node: Node) -> Any:
        from dask.delayed import delayed

        function: Any = self._program.roots[node.name].unit.function
        collection = delayed(function.collection)
        self._collections.append(collection)
        return self._task(node.key, given, self._ref(collection.key))

    def _root(self, node: Node) -> Any:
        known = self._codes.get(node.name)
        if known is None:
            upstream = self._keys.standing(node.name).upstream
            unit = alone(self._program.roots[node.name].unit, upstream)
            code = self._shared("code", self._keys.code(node.name), Carried(unit, pickle_unit))
            copied = [
                str(i) for i, name in enumerate(upstream) if self._program.roots[name].unit.copies
            ]
            known = self._codes[node.name] = code, tuple(copied)
        code, copied_names = known
        (fields,), elsewhere = self._fields(node)
        refs = [self._ref(key) for key in (*node.upstream, *elsewhere)]
        return self._task(
            node.key, run_root_alone, node.key, code, fields, copied_names, elsewhere, *refs
        )

    def _experiments(self, node: Node) -> Any:
        known = self._known.get(node.upstream)
        if known is None:
            # the keys by which experiments ask for the outcomes, in the order in which these are given
            asked = {key.key: key for one in node.experiments for key in (one.roots or {}).values()}
            known = (
                tuple([asked[key] for key in node.upstream]),
                tuple([self._ref(key) for key in node.upstream]),
            )
            self._known[node.upstream] = known
        root_keys, refs = known
        group, elsewhere = self._fields(node)
        values = [self._ref(key) for key in elsewhere]
        return self._task(
            node.key, run_node, self._plan, group, root_keys, elsewhere, *refs, *values
        )

    def _fields(self, node: Node) -> tuple[tuple[tuple[Any, ...], ...], tuple[str, ...]]:
        """Return the fields of the experiments of a node, and the keys of the values that are nodes of their own."""
        if all([is_small(one.values) for one in node.experiments]):
            return tuple([tuple(one) for one in node.experiments]), ()
        elsewhere: dict[str, None] = {}

        def carry(name: str, value: Any) -> Any:
            standin = self._standin(name, value)
            if type(standin) is Elsewhere:
                elsewhere[standin.key] = None
            return standin

        return tuple([departing(experiment, carry) for experiment in node.experiments]), tuple(
            elsewhere
        )

    def _standin(self, name: str, value: Any) -> Any:
        """Return what stands for a value of a parameter in tasks, the same for all that have it."""
        if type(value) in (str, bytes) and len(value) < _SHARED_BYTES:
            return value
        known = self._carried.get(id(value))
        if known is None:
            from dask.sizeof import sizeof

            standin: Any = Carried(value)
            if sizeof(value) > _SHARED_BYTES:
                standin = Elsewhere(
                    self._shared("value", self._keys.value(name, value), standin).key
                )
            known = self._carried[id(value)] = (value, standin)
        return known[1]

    def _graph(self) -> HighLevelGraph:
        from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

        layers: dict[str, Any] = {}
        dependencies: dict[str, set[str]] = {}
        for collection in self._collections:
            graph = collection.__dask_graph__()
            layers |= graph.layers
            dependencies |= graph.dependencies
        own = {}
        for (unit, kind), tasks in self._layers.items():
            name = _layer_name(unit, tasks)
            own[name] = tasks
            layers[name] = MaterializedLayer(tasks, annotations=self._annotations(unit, kind))
        owners = {key: name for name, layer in layers.items() for key in layer.get_output_keys()}
        for name, tasks in own.items():
            needed = set().union(*[task.dependencies for task in tasks.values()])
            dependencies[name] = {owners[key] for key in needed} - {name}
        return HighLevelGraph(layers, dependencies)

    def _annotations(self, unit: str, kind: NodeKind | None) -> dict[str, Any] | None:
        """Return what Dask is told of the tasks of a layer: what they take of the resources of a worker."""
        if kind in (None, NodeKind.INPUT):
            return None
        resources = self._resources.get(unit if kind is NodeKind.ROOT else "")
        return {"resources": dict(resources)} if resources else None


def _layer_name(name: str, tasks: Mapping[str, Any]) -> str:
    """Return a name that no layer of another graph has, unless it has the same tasks."""
    return f"{name}-{hashlib.blake2b(''.join(tasks).encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def warn_of_large_arguments(plan: Plan) -> None:
    """Warn of arguments that are large, as they are pickled and sent with the plan."""
    from dask.sizeof import sizeof

    for unit in plan.units:
        arguments: dict[str, Any] = dict(unit.kwargs)
        if not isinstance(unit.args, Expression):
            arguments |= {str(i): value for i, value in enumerate(unit.args)}
        for name, value in arguments.items():
            size = sizeof(value)
            if size > LARGE_BYTES:
                warnings.warn(
                    f"argument {name!r} of unit {unit.name!r} is large ({size / 1e6:.0f} MB) and travels with the "
                    f"plan, once to each worker; load it in a root unit, so that it is made where it is used",
                    stacklevel=2,
                )


def lower_rows(
    graph: Any, outputs: Sequence[tuple[str, int]], function: Callable[..., Any], columns: Any
) -> tuple[HighLevelGraph, str, list[str]]:
    """Return a graph with one more output for each experiment of its outputs.

    Parameters
    ----------
    graph : HighLevelGraph or Mapping
    outputs : sequence of (str, int)
        The keys of experiments or groups, and how many experiments each holds.
    function : callable
        Makes the new output from the old one, the place of the experiment in it, and the columns.
    columns : object

    Returns
    -------
    HighLevelGraph
    str
        The layer of the new outputs.
    list of str
        Their keys.
    """
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
    from dask.task_spec import Task, TaskRef

    tasks = {}
    for key, size in outputs:
        for place in range(size):
            row_key = (
                f"rows-{hashlib.blake2b(f'{key} {place}'.encode(), digest_size=16).hexdigest()}"
            )
            tasks[row_key] = Task(row_key, function, TaskRef(key), place, columns)
    name = _layer_name("rows", tasks)
    if not isinstance(graph, HighLevelGraph):
        held = "held-" + name
        graph = HighLevelGraph({held: dict(graph)}, {held: set()})
    dependencies = {**graph.dependencies, name: set(graph.layers)}
    return (
        HighLevelGraph({**graph.layers, name: MaterializedLayer(tasks)}, dependencies),
        name,
        list(tasks),
    )
