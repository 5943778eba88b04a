"""From nodes to a Dask graph: the only module that makes tasks.

The layers of a graph:

- one for each root unit;
- one for the experiments;
- those for the plan, for the code of roots and for large values, whose nodes others share;
- those of the Dask collections that units were given.

Users' code travels in nodes of its own, as bytes that no scheduler unpickles.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.domain.experiment import RootKey
from daskresearch.graph.inputs import alone
from daskresearch.graph.trace import TaskKind, TaskNode
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
"""From this size on, an argument is worth a warning."""
_SHARED_BYTES = 64_000


class Lowered(NamedTuple):
    """A Dask graph of a research.

    Attributes
    ----------
    graph : HighLevelGraph
    keys : list of str
        The keys of experiments and groups, in domain order.
    sizes : list of int
        How many experiments each of them holds.
    """

    graph: HighLevelGraph
    keys: list[str]
    sizes: list[int]


def lower(
    nodes: Iterable[TaskNode],
    program: Program,
    keys: PlanKeys,
    blob: Blob,
    resources: Mapping[str, Mapping[str, float]] | None = None,
) -> Lowered:
    """Return the Dask graph of traced nodes.

    Nodes of equal keys have equal tasks, of whichever research: a scheduler that has a key never
    looks at its task again.

    Parameters
    ----------
    nodes : iterable of TaskNode
        Each node behind the nodes whose outputs it takes.
    program : Program
    keys : PlanKeys
    blob : Blob
        The plan and context; its token stands for both.
    resources : Mapping of str to Mapping, optional
        The worker's resources that each root takes; those of an experiment under the name ``''``.

    Examples
    --------
    >>> from daskresearch import Research
    >>> research = Research().add_callable("load", len, args=["abc"], root=True)
    >>> research = research.add_callable("show", print)
    >>> sorted(layer.partition("-")[0] for layer in research.__dask_graph__().layers)
    ['code', 'load', 'plan', 'show']
    """
    return _Lowering(program, keys, blob, resources or {}).lowered(nodes)


class _Lowering:
    """Builds a graph, layer by layer."""

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
        self._layers: dict[tuple[str, TaskKind | None], dict[Any, Any]] = {}
        self._codes: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._plan = self._shared("plan", blob.token, blob)
        self._collections: list[Any] = []
        self._inputs: dict[tuple[str, ...], tuple[tuple[RootKey, ...], tuple[Any, ...]]] = {}
        self._carried: dict[int, tuple[Any, Any]] = {}

    def lowered(self, nodes: Iterable[TaskNode]) -> Lowered:
        """Return the graph of the nodes."""
        keys, sizes = [], []
        for node in nodes:
            layer = self._layers.get((node.name, node.kind))
            if layer is None:
                layer = self._layers[node.name, node.kind] = {}
            if node.kind is TaskKind.INPUT:
                layer[node.key] = self._input(node)
            elif node.kind is TaskKind.ROOT:
                layer[node.key] = self._root(node)
            else:
                layer[node.key] = self._experiments(node)
                keys.append(node.key)
                sizes.append(len(node.experiments))
        return Lowered(self._graph(), keys, sizes)

    def _shared(self, name: str, digest: str, content: Any) -> Any:
        """Return a reference to the node that holds a content; adds it if it is missing."""
        key = f"{name}-{digest}"
        layer = self._layers.setdefault((name, None), {})  # None: no layer of a unit of that name
        if key not in layer:
            layer[key] = self._data(key, content)
        return self._ref(key)

    def _input(self, node: TaskNode) -> Any:
        from dask.delayed import delayed

        function: Any = self._program.roots[node.name].unit.function
        collection = delayed(function.collection)
        self._collections.append(collection)
        return self._task(node.key, given, self._ref(collection.key))

    def _root(self, node: TaskNode) -> Any:
        if node.name not in self._codes:
            upstream = self._keys.standing(node.name).upstream
            unit = alone(self._program.roots[node.name].unit, upstream)
            code = self._shared("code", self._keys.code(node.name), Carried(unit, pickle_unit))
            copied = [
                str(i) for i, name in enumerate(upstream) if self._program.roots[name].unit.copies
            ]
            self._codes[node.name] = code, tuple(copied)
        code, copied_names = self._codes[node.name]
        (fields,), elsewhere = self._fields(node)
        refs = [self._ref(key) for key in (*node.upstream, *elsewhere)]
        return self._task(
            node.key, run_root_alone, node.key, code, fields, copied_names, elsewhere, *refs
        )

    def _experiments(self, node: TaskNode) -> Any:
        inputs = self._inputs.get(node.upstream)
        if inputs is None:
            # experiments ask for outputs by these keys, in the order in which the task takes them
            root_keys = {
                key.key: key
                for experiment in node.experiments
                for key in (experiment.roots or {}).values()
            }
            inputs = self._inputs[node.upstream] = (
                tuple([root_keys[key] for key in node.upstream]),
                tuple([self._ref(key) for key in node.upstream]),
            )
        asked, refs = inputs
        group, elsewhere = self._fields(node)
        values = [self._ref(key) for key in elsewhere]
        return self._task(node.key, run_node, self._plan, group, asked, elsewhere, *refs, *values)

    def _fields(self, node: TaskNode) -> tuple[tuple[tuple[Any, ...], ...], tuple[str, ...]]:
        """Return the fields of a node's experiments, and the keys of their large values."""
        if all([is_small(experiment.values) for experiment in node.experiments]):
            return tuple([tuple(experiment) for experiment in node.experiments]), ()
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
        """Return what stands for a parameter's value in all tasks that have the value."""
        if type(value) in (str, bytes) and len(value) < _SHARED_BYTES:
            return value
        carried = self._carried.get(id(value))
        if carried is None:
            from dask.sizeof import sizeof

            standin: Any = Carried(value)
            if sizeof(value) > _SHARED_BYTES:
                standin = Elsewhere(
                    self._shared("value", self._keys.value(name, value), standin).key
                )
            carried = self._carried[id(value)] = (value, standin)
        return carried[1]

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

    def _annotations(self, unit: str, kind: TaskKind | None) -> dict[str, Any] | None:
        """Return the annotations of a layer: the worker's resources that its tasks take."""
        if kind in (None, TaskKind.INPUT):
            return None
        resources = self._resources.get(unit if kind is TaskKind.ROOT else "")
        return {"resources": dict(resources)} if resources else None


def _layer_name(name: str, tasks: Mapping[str, Any]) -> str:
    """Return a layer's name, which only layers of the same tasks have."""
    keys = "".join(tasks).encode("utf-8", "surrogatepass")
    return f"{name}-{hashlib.blake2b(keys, digest_size=16).hexdigest()}"


def warn_of_large_arguments(plan: Plan) -> None:
    """Warn of large arguments, which are pickled and sent with the plan."""
    from dask.sizeof import sizeof

    for unit in plan.units:
        arguments: dict[str, Any] = dict(unit.kwargs)
        if not isinstance(unit.args, Expression):
            arguments |= {str(i): value for i, value in enumerate(unit.args)}
        for name, value in arguments.items():
            size = sizeof(value)
            if size > LARGE_BYTES:
                warnings.warn(
                    f"argument {name!r} of unit {unit.name!r} is large ({size / 1e6:.0f} MB) and "
                    f"travels with the plan, once to each worker; load it in a root unit, so that "
                    f"it is made where it is used",
                    stacklevel=2,
                )


def lower_rows(
    graph: Any, outputs: Sequence[tuple[str, int]], function: Callable[..., Any], columns: Any
) -> tuple[HighLevelGraph, str, list[str]]:
    """Return a graph with an output for each experiment, made from the graph's outputs.

    Parameters
    ----------
    graph : HighLevelGraph or Mapping
    outputs : sequence of (str, int)
        The keys of experiments or groups, with the number of experiments that each holds.
    function : callable
        Makes the new output from the old output, the experiment's position in it, and the columns.
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
        for i in range(size):
            row_key = f"rows-{hashlib.blake2b(f'{key} {i}'.encode(), digest_size=16).hexdigest()}"
            tasks[row_key] = Task(row_key, function, TaskRef(key), i, columns)
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
