"""What to do: units in order, when they run and what their arguments stand for."""

from daskresearch.plan.expressions import (
    Expression,
    evaluator,
    expressions_in,
    holds_containers,
    replaced,
)
from daskresearch.plan.named import EC, EP, E, O, R, S
from daskresearch.plan.plan import Plan, check_complete, plan_of
from daskresearch.plan.roots import Root, roots_of, with_all_roots
from daskresearch.plan.schedule import Schedule
from daskresearch.plan.unit import (
    RESERVED_PARAMETERS,
    RESERVED_VARIABLES,
    WHOLE_CONFIG,
    Kind,
    Unit,
    name_of,
    variables_of,
    whole_experiments,
)

__all__ = [
    "EC",
    "EP",
    "RESERVED_PARAMETERS",
    "RESERVED_VARIABLES",
    "WHOLE_CONFIG",
    "E",
    "Expression",
    "Kind",
    "O",
    "Plan",
    "R",
    "Root",
    "S",
    "Schedule",
    "Unit",
    "check_complete",
    "evaluator",
    "expressions_in",
    "holds_containers",
    "name_of",
    "plan_of",
    "replaced",
    "roots_of",
    "variables_of",
    "whole_experiments",
    "with_all_roots",
]
