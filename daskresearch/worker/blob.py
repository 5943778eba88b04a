"""What the tasks of a run work with: the plan and context that a `Blob` carries, made ready once in a process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import final

from daskresearch.worker.context import Context
from daskresearch.worker.folders import folder_of_process
from daskresearch.worker.pickling import Carried
from daskresearch.worker.program import Program
from daskresearch.worker.roots import RootOutputs


@final
@dataclass(frozen=True, slots=True)
class Blob:
    """The plan and context of a run, known by its token."""

    token: str
    carried: Carried = field(compare=False, repr=False)


Workplace = tuple[Program, Context, RootOutputs]


def workplace(blob: Blob) -> Workplace:
    """Return what a run's tasks work with: kept with a plan of this process, or for the last ones that arrived."""
    carried = blob.carried
    if carried.has_arrived:
        return _arrived_workplace(blob)
    if carried.made is None:
        carried.made = _made_workplace(blob)
    made: Workplace = carried.made
    return made


@lru_cache(maxsize=2)
def _arrived_workplace(blob: Blob) -> Workplace:
    return _made_workplace(blob)


def _made_workplace(blob: Blob) -> Workplace:
    plan, context = blob.carried.get()
    if context.target is not None and not context.folder:
        context = replace(context, folder=folder_of_process())
    if not context.token:
        context = replace(context, token=blob.token)
    program = Program.of(plan, context.n_iters)
    return program, context, RootOutputs(program, context)
