"""Random plans as plain data, from which both a research and the reference are made."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from daskresearch import EC, Domain, E, O, Option, Research


@dataclass(frozen=True)
class UnitSpec:
    """One unit: what it is, when it runs, what goes in and what is recorded."""

    kind: str  # callable, generator, instance, method or save
    name: str
    inputs: tuple[tuple[str, Any], ...] = ()
    when: tuple[Any, ...] = (1,)
    save: Any = None  # None, a name, a pair of names, or "dict"
    root: bool = False
    length: int = 0
    fails_below: int = 0  # of 100 outputs
    wrong_length: bool = False

    @property
    def upstream(self) -> set[str]:
        """The units whose output it uses."""
        names = {value for what, value in self.inputs if what in ("output", "attribute")}
        return names | ({self.name.partition(".")[0]} if self.kind == "method" else set())


@dataclass(frozen=True)
class RunSpec:
    """A plan with the domain and the options it runs with."""

    units: tuple[UnitSpec, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]
    n_reps: int = 1
    branches: int | None = None
    n_iters: int | None = None
    finalize: bool = True
    target: str = "for"
    seed: int = 0

    @property
    def domain(self) -> Domain:
        """The domain of the run."""
        return (
            Option("a", list(self.a)) * Option("b", list(self.b))
            if self.b
            else Option("a", list(self.a))
        )


class BrokenError(Exception):
    """What units raise on purpose."""


def combine(tag: str, inputs: tuple[Any, ...]) -> int:
    """Return a number below 10**6 that follows the inputs; random ones are drawn from."""
    plain = [int(value.integers(1000)) if hasattr(value, "integers") else value for value in inputs]
    return zlib.crc32(repr((tag, plain)).encode()) % 10**6


def output_of(unit: UnitSpec, number: int) -> Any:
    """Return a unit's output for the number of its inputs, or raise for some numbers."""
    if number % 100 < unit.fails_below:
        raise BrokenError(number)
    if unit.save == "dict":
        return {f"{unit.name}_x": number, f"{unit.name}_y": number + 1}
    if isinstance(unit.save, tuple):
        return (number,) * (3 if unit.wrong_length else 2)
    return number


@dataclass
class Function:
    """The callable of a unit."""

    unit: UnitSpec

    def __call__(self, *inputs: Any) -> Any:
        return output_of(self.unit, combine(self.unit.name, inputs))


@dataclass
class Generating:
    """The generator function of a unit."""

    unit: UnitSpec

    def __call__(self, *inputs: Any) -> Any:
        for i in range(self.unit.length):
            yield output_of(self.unit, combine(f"{self.unit.name}{i}", inputs))


@dataclass
class Counter:
    """An instance that remembers how often it was asked."""

    start: int
    unit: UnitSpec
    count: int = field(default=0)

    def step(self, unit: UnitSpec, *inputs: Any) -> Any:
        """Return a number that follows all calls before."""
        self.count += 1
        return output_of(unit, combine(f"{unit.name}{self.start}{self.count}", inputs))


def create(unit: UnitSpec, *inputs: Any) -> Counter:
    """Return the instance of a unit."""
    number = combine(unit.name, inputs)
    output_of(unit, number)
    return Counter(number, unit)


def research_of(
    spec: RunSpec, wrap: Callable[[str, Any], Any] = lambda name, function: function
) -> Research:
    """Return the research of a spec, each of whose functions may be wrapped in another."""
    research = Research(domain=spec.domain, n_reps=spec.n_reps)
    for unit in spec.units:
        args = [_expression(what, value) for what, value in unit.inputs]
        options: dict[str, Any] = {"when": list(unit.when)}
        if unit.save == "dict":
            options["save_output_dict"] = True
        elif unit.save is not None:
            options["save_to"] = list(unit.save) if isinstance(unit.save, tuple) else unit.save
        if unit.kind == "callable":
            function: Any = wrap(unit.name, Function(unit))
            research = research.add_callable(
                unit.name, function, args=args, root=unit.root, **options
            )
        elif unit.kind == "generator":
            function = wrap(unit.name, Generating(unit))
            research = research.add_generator(
                unit.name, function, args=args, root=unit.root, **options
            )
        elif unit.kind == "instance":
            research = research.add_instance(
                unit.name, wrap(unit.name, create), root=unit.root, args=[unit, *args]
            )
        elif unit.kind == "method":
            research = research.add_callable(
                unit.name, args=[unit, *args], root=unit.root, **options
            )
        else:
            research = research.save(args[0], unit.save, when=list(unit.when))
    return research


def _expression(what: str, value: Any) -> Any:
    makers = {
        "output": lambda: O(value),
        "attribute": lambda: E(value).count,
        "config": lambda: EC(value),
        "random": lambda: E().random,
        "iteration": lambda: E().iteration,
        "constant": lambda: value,
    }
    return makers[what]()


@st.composite
def runs(draw: Any) -> RunSpec:
    """Draw a run: up to six units over up to six configs."""
    a = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    b = draw(st.sampled_from([(), (5, 7)]))
    kinds = draw(
        st.lists(
            st.sampled_from(["callable"] * 3 + ["generator"] * 2 + ["instance", "save"]), max_size=5
        )
    )
    parameters = ["a", "b"] if b else ["a"]
    names = [f"{kind[0]}{i}" for i, kind in enumerate(["callable", *kinds])]
    roots = [draw(st.booleans()) and kind != "save" for kind in ["callable", *kinds]]
    units: list[UnitSpec] = []
    for name, kind, root in zip(names, ["callable", *kinds], roots, strict=True):
        earlier = zip(names, roots, ["callable", *kinds], strict=True)
        readable = [
            other
            for other, other_root, other_kind in earlier
            if other_kind in ("callable", "generator") and (other_root or not root)
        ]
        when = draw(
            st.sampled_from([(1,)] * 4 + [(2,), ("#1",), ("last",), (3, "#0"), (2, "last")])
        )
        save = draw(
            st.sampled_from([None, f"v_{name}", f"v_{name}", (f"p_{name}", f"q_{name}"), "dict"])
        )
        fails = draw(st.sampled_from([0, 0, 0, 10, 40]))
        if kind == "save":
            source = draw(st.sampled_from(readable)) if readable else None
            inputs: tuple[tuple[str, Any], ...] = (
                (("output", source),) if source else (("iteration", None),)
            )
            units.append(UnitSpec("save", f"save_s_{name}", inputs, when, f"s_{name}"))
            continue
        choices = [st.tuples(st.just("config"), st.sampled_from(parameters)),
                   st.just(("random", None)),
                   st.just(("iteration", None)),
                   st.tuples(st.just("constant"), st.integers(0, 9))]  # fmt: skip
        if readable:
            choices += [st.tuples(st.just("output"), st.sampled_from(readable))] * 3
        inputs = tuple(draw(st.lists(st.one_of(choices), max_size=3)))
        if kind == "instance":
            units.append(UnitSpec("instance", name, inputs, ("#0",), None, root, fails_below=fails))
            method_inputs = tuple(draw(st.lists(st.one_of(choices), max_size=2)))
            if not root and draw(st.booleans()):
                method_inputs += (("attribute", name),)
            units.append(
                UnitSpec(
                    "method",
                    f"{name}.step",
                    method_inputs,
                    when,
                    f"v_{name}",
                    root,
                    fails_below=fails,
                )
            )
            continue
        if kind == "generator":
            when = (*when, draw(st.sampled_from([1, 2])))
        wrong = draw(st.integers(0, 9)) == 0
        length = draw(st.integers(0, 4))
        units.append(UnitSpec(kind, name, inputs, when, save, root, length, fails, wrong))
    return RunSpec(
        tuple(units), tuple(a), b,
        n_reps=draw(st.integers(1, 2)),
        branches=draw(st.sampled_from([None, 1, 2, 3])),
        n_iters=draw(st.sampled_from([None, None, 1, 2, 4])),
        finalize=draw(st.booleans()),
        target=draw(st.sampled_from(["for", "threads"])),
        seed=draw(st.integers(0, 3)),
    )  # fmt: skip
