"""The meaning of a plan as a plain loop over units, apart from the library's own.

From the library come only the configs of the domain, and who draws from which random stream.
"""

from __future__ import annotations

from typing import Any

from daskresearch.domain import IterParams, entropy_of, identify, iterate, stream
from tests.support.plans import Counter, RunSpec, UnitSpec, combine, create, output_of


class Member:
    """One experiment, with everything that it remembers between iterations."""

    def __init__(
        self, experiment_id: str, key: bytes, group: bytes, config: dict[str, Any]
    ) -> None:
        self.id, self.key, self.group, self.config = experiment_id, key, group, config
        self.outputs: dict[str, Any] = {}
        self.generators: dict[str, Any] = {}
        self.streams: dict[str, Any] = {}
        self.rows: dict[int, dict[str, Any]] = {}
        self.broken: set[str] = set()
        self.failures: list[tuple[str, int]] = []
        self.last = self.ended = False


def run_reference(
    spec: RunSpec,
) -> tuple[list[tuple[str, int, dict[str, Any]]], list[tuple[str, str, int]]]:
    """Return rows (id, iteration, variables), and failures (id, unit, iteration)."""
    members = _members(spec)
    for group in dict.fromkeys(member.group for member in members):
        _run_group(spec, [member for member in members if member.group == group])
    rows = [(member.id, i, member.rows[i]) for member in members for i in sorted(member.rows)]
    return rows, [(member.id, *failure) for member in members for failure in member.failures]


def _members(spec: RunSpec) -> list[Member]:
    entropy = entropy_of(spec.seed)
    members = []
    counts: dict[int, int] = {}
    for config in iterate(spec.domain.node, IterParams(n_reps=spec.n_reps), spec.seed):
        place = counts.get(config.repetition, 0)
        counts[config.repetition] = place + 1
        number = place // spec.branches if spec.branches else 0
        group = b"%b-%d-%d-0" % (entropy, config.repetition, number)
        members.append(Member(*identify(config, entropy), group, config.values()))
    return members


def _run_group(spec: RunSpec, members: list[Member]) -> None:
    n_iters = spec.n_iters
    if n_iters is None and not any(unit.kind == "generator" for unit in spec.units):
        n_iters = 1
    shared: dict[Any, Member] = {}
    iteration = 0
    while members:
        for member in members:
            member.last = iteration + 1 == n_iters
        for unit in spec.units:
            turns = [
                member for member in members if _has_turn(unit, member, iteration, spec.finalize)
            ]
            if unit.root:
                _run_root(spec, unit, turns, iteration, shared)
            else:
                for member in turns:
                    _finish(
                        unit,
                        member,
                        iteration,
                        *_attempt(unit, member, member, iteration, member.key),
                    )
        members = [member for member in members if not member.last]
        iteration += 1


def _has_turn(unit: UnitSpec, member: Member, iteration: int, finalize: bool) -> bool:
    if member.ended and not finalize:
        return False
    if unit.upstream & member.broken:
        member.broken.add(unit.name)
        return False
    for when in unit.when:
        if when == "last" and member.last:
            return True
        if isinstance(when, int) and (iteration + 1) % when == 0:
            return True
        if isinstance(when, str) and when.startswith("#") and int(when[1:]) == iteration:
            return True
    return False


def _run_root(
    spec: RunSpec, unit: UnitSpec, turns: list[Member], iteration: int, shared: dict[Any, Member]
) -> None:
    reads = sorted(_reads(spec, unit, set()))
    cells: dict[Any, list[Member]] = {}
    for member in turns:
        cells.setdefault((unit.name, *(member.config[name] for name in reads)), []).append(member)
    for key, sharing in cells.items():
        first = sharing[0]
        cell = shared.setdefault(key, Member(first.id, first.group, first.group, first.config))
        outcome = _attempt(unit, first, cell, iteration, first.group)
        for member in sharing:
            _finish(unit, member, iteration, *outcome)


def _reads(spec: RunSpec, unit: UnitSpec, seen: set[str]) -> set[str]:
    """Return the parameters that a root and the roots before it read."""
    names = {value for what, value in unit.inputs if what == "config"}
    for other in spec.units:
        if other.name in unit.upstream and other.name not in seen:
            names |= _reads(spec, other, seen | {unit.name})
    return names


def _attempt(
    unit: UnitSpec, scope: Member, state: Member, iteration: int, key: bytes
) -> tuple[str, Any]:
    """Return ('output', value), ('exhausted', None) or ('failed', None)."""

    def value_of(what: str, value: Any) -> Any:
        if what == "output":
            return scope.outputs.get(value)
        if what == "attribute":
            return scope.outputs[value].count
        if what == "random":
            return state.streams.setdefault(unit.name, stream(key, unit.name))
        return {"config": scope.config.get(value), "iteration": iteration, "constant": value}[what]

    try:
        if unit.kind == "generator":
            if unit.name not in state.generators:
                inputs = [value_of(*part) for part in unit.inputs]
                state.generators[unit.name] = _generate(unit, inputs)
            for output in state.generators[unit.name]:
                return "output", output
            return "exhausted", None
        inputs = [value_of(*part) for part in unit.inputs]
        if unit.kind == "save":
            return "output", inputs[0]
        if unit.kind == "instance":
            return "output", create(unit, *inputs)
        if unit.kind == "method":
            owner: Counter = scope.outputs[unit.name.partition(".")[0]]
            return "output", owner.step(unit, *inputs)
        return "output", output_of(unit, combine(unit.name, tuple(inputs)))
    except Exception:
        return "failed", None


def _generate(unit: UnitSpec, inputs: list[Any]) -> Any:
    for i in range(unit.length):
        yield output_of(unit, combine(f"{unit.name}{i}", tuple(inputs)))


def _finish(unit: UnitSpec, member: Member, iteration: int, what: str, output: Any) -> None:
    if what == "exhausted":
        member.last = member.ended = True
        if unit.name not in member.outputs:
            member.broken.add(unit.name)
            return
        output = member.outputs[unit.name]
    wrong = isinstance(unit.save, tuple) and what != "failed" and len(output) != len(unit.save)
    if what == "failed" or wrong:
        member.last = member.ended = True
        member.broken.add(unit.name)
        member.failures.append((unit.name, iteration))
        return
    member.outputs[unit.name] = output
    if unit.save is None:
        return
    if unit.save == "dict":
        recorded = output
    else:
        recorded = (
            dict(zip(unit.save, output, strict=True))
            if isinstance(unit.save, tuple)
            else {unit.save: output}
        )
    member.rows.setdefault(iteration, {}).update(recorded)
