"""How a plan becomes tasks: traced to nodes, lowered to a Dask graph, and counted."""

from daskresearch.graph.inputs import with_inputs
from daskresearch.graph.lower import Lowered, lower, lower_rows, warn_of_large_arguments
from daskresearch.graph.preview import Counts, Experiments, count
from daskresearch.graph.trace import TaskKind, TaskNode, trace
from daskresearch.keys.plan_keys import PlanKeys

__all__ = [
    "Counts",
    "Experiments",
    "Lowered",
    "PlanKeys",
    "TaskKind",
    "TaskNode",
    "count",
    "lower",
    "lower_rows",
    "trace",
    "warn_of_large_arguments",
    "with_inputs",
]
