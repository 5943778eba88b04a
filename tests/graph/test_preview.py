"""A preview says what will run before it does: counted, and compared with what ran."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from dask.utils import key_split
from hypothesis import given, settings
from hypothesis import strategies as st

from daskresearch import EC, Alias, Domain, E, NumpySampler, O, Option, Research
from tests.support.effort import few_calls
from tests.support.plans import Counter, RunSpec, research_of, runs
from tests.support.strategies import domains


def load(*args: Any) -> Any:
    """Return something that follows the arguments."""
    return repr(args)


def calls_of(research: Research, **options: Any) -> dict[str, Any]:
    """Return the calls that a preview foresees."""
    preview = research.preview(**options)
    return dict(zip(preview.unit, preview.calls, strict=True))


def n_nodes(research: Research) -> int:
    """Return how many nodes of a graph compute something."""
    return len(
        [key for key in dict(research.__dask_graph__()) if key_split(key) not in ("plan", "code")]
    )


@dataclass
class Counting:
    """A function that counts its calls, its items, or the calls of its instance."""

    counts: collections.Counter[str]
    name: str
    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        output = self.function(*args)
        if hasattr(output, "__next__"):
            return self._items(output)
        self.counts[self.name] += 1
        if isinstance(output, Counter):
            step = Counting(self.counts, f"{self.name}.step", output.step)
            output.step = step  # type: ignore[method-assign, assignment]
        return output

    def _items(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.counts[self.name] += 1
            yield item

    def __reduce__(self) -> Any:
        return Counting, (None, self.name, self.function)  # counts are no content


def counted(spec: RunSpec, compute: Callable[[Research], Any]) -> dict[str, int]:
    """Return how often each unit of a spec was called."""
    counts: collections.Counter[str] = collections.Counter()
    compute(
        options_of(spec, research_of(spec, lambda name, function: Counting(counts, name, function)))
    )
    return {unit.name: counts[unit.name] for unit in spec.units if unit.kind != "save"}


def options_of(spec: RunSpec, research: Research) -> Research:
    """Return a research with the options of a spec."""
    return research.options(n_iters=spec.n_iters, branches=spec.branches, seed=spec.seed)


@settings(max_examples=30)
@given(spec=runs(), n_iters=st.integers(1, 4))
def test_a_preview_is_what_is_counted(spec: RunSpec, n_iters: int) -> None:
    units = tuple(replace(unit, fails_below=0, wrong_length=False, length=9) for unit in spec.units)
    spec = replace(spec, units=units, n_iters=n_iters)
    research = options_of(spec, research_of(spec))
    preview = research.preview()
    foreseen = dict(zip(preview.unit, preview.calls, strict=True))
    assert foreseen == counted(spec, lambda one: one.run(bar=False, dump_results=False))
    assert foreseen == counted(spec, lambda one: dask.compute(one, scheduler="synchronous"))
    plain = replace(spec, units=tuple(replace(unit, root=False) for unit in units))
    assert dict(zip(preview.unit, preview.calls_plain, strict=True)) == counted(
        plain, lambda one: one.run(bar=False, dump_results=False)
    )
    assert preview.attrs == {
        "experiments": len(spec.domain) * spec.n_reps,
        "nodes": n_nodes(research),
    }


@settings(max_examples=30)
@given(
    case=domains(), data=st.data(), n_reps=st.integers(1, 3),
    branches=st.sampled_from([None, 1, 2, 5]),
    n_configs=st.sampled_from([None, None, 1, 3, 7]),
    repeat_each=st.sampled_from([None, None, 1, 2]),
)  # fmt: skip
def test_calls_are_counted_from_any_domain(
    case, data, n_reps, branches, n_configs, repeat_each
) -> None:
    domain, _ = case
    names = data.draw(
        st.lists(st.sampled_from([*domain.names, "repetition"]), unique=True, max_size=3)
    )
    research = Research(domain=domain, n_reps=n_reps, n_configs=n_configs, repeat_each=repeat_each)
    seen: list[Any] = []

    def note(*args: Any) -> None:
        seen.append(args)

    def whole(config: dict[str, Any]) -> None:
        seen.append(config)

    def draw(random: Any) -> float:
        return float(random.random())

    reads = E().config.get if names else None
    args = [] if reads is None else [reads(name) for name in names]
    for unit in ("none", "some", "all", "drawn", "in lock-step"):
        seen.clear()
        if unit == "none":
            one = research.add_callable(note, root=True)
        elif unit == "some":
            one = research.add_callable(note, args=args, root=True)
        elif unit == "all":
            one = research.add_callable("note", whole, args=[EC()], root=True)
        elif unit == "in lock-step":
            one = research.add_callable(note, args=[E().iteration, *args], root=True)
        else:
            one = research.add_callable(draw, args=[E().random], root=True)
            one = one.add_callable(note, args=[O("draw"), EC(full=True)], root=True)
        one = one.options(branches=branches, seed=1)
        foreseen = calls_of(one)["note"]
        one.run(bar=False, dump_results=False)
        assert foreseen == len(seen)
        assert one.preview().attrs["nodes"] == n_nodes(one)


def test_a_preview_shows_what_a_plain_loop_would_call_and_what_is_saved():
    research = (
        Research("sweep", domain=Domain(file=["a", "b"], lr=[1, 2, 3]), n_reps=2)
        .add_callable("load", load, args=[EC("file")], root=True)
        .add_callable("draw", load, args=[E().random], root=True, when="#0")
        .add_callable("train", load, args=[O("load"), O("draw"), EC("lr")], save_to="y")
        .add_callable("report", load, args=[O("train")], when="last")
        .save(O("train"), "z")
        .dump()
    )
    preview = research.preview(n_iters=10)
    expected = pd.DataFrame(
        {
            "unit": ["load", "draw", "train", "report"],
            "calls_plain": [120, 12, 120, 12],
            "calls": [2, 2, 120, 12],
            "saved": [1 - 2 / 120, 1 - 2 / 12, 0.0, 0.0],
        }
    )
    pd.testing.assert_frame_equal(preview, expected)
    assert preview.attrs == {"experiments": 12, "nodes": 12 + 2 + 2}


@pytest.mark.parametrize(
    "domain",
    [
        Domain(a=range(1000), b=range(1000)),
        Domain(a=range(100), c=range(100)) * Option("b", list(range(100))),
        Option("a", range(10)) * Option("b", range(50_000))
        + Option("a", range(5, 15)) * Option("c", range(50_000)),
        Option("a", [np.zeros(1000), np.ones(1000)]) * Option("b", range(500_000)),
        Option("a", range(1_000_000)) @ Option("b", range(1_000_000)),
        Option("b", range(1_000_000)) * Option("a", scipy.stats.norm()),
    ],
    ids=["product", "three", "sum", "arrays", "pairs", "samples"],
)
def test_a_million_configs_are_previewed_at_once(domain):
    research = Research(domain=domain).add_callable("load", load, args=[EC("b")], root=True)
    if "c" in domain.names:
        research = research.add_callable("use", load, args=[O("load"), EC()])
    with few_calls(50_000):
        preview = research.preview()
    assert preview.attrs["experiments"] == 1_000_000
    assert preview.calls[0] > 0


def test_samples_that_a_root_reads_are_drawn_for_the_preview():
    research = Research(domain=Option("a", NumpySampler("integers", low=0, high=3)), n_configs=50)
    research = research.add_callable("load", load, args=[EC("a")], root=True, save_to="y").options(
        seed=1
    )
    assert calls_of(research) == {"load": 3}
    assert research.compute().y.nunique() == 3


def test_texts_do_not_matter_where_values_are_read():
    research = Research(
        domain=Option("a", [Alias([1], "one"), Alias([1], "two"), Alias([2], "one more")])
    )
    assert calls_of(research.add_callable("load", load, args=[EC("a")], root=True)) == {"load": 2}


def test_what_only_the_end_of_a_generator_tells_is_unknown():
    research = Research(domain=Option("a", [1, 2])).add_callable("load", load, root=True)
    research = research.add_generator("walk", range, args=[3]).add_callable(
        "first", load, when="#0"
    )
    preview = research.preview()
    assert preview.calls_plain.isna().tolist() == [True, True, False]
    assert preview.calls.isna().tolist() == [False, True, False]
    assert preview.calls[0] == 1
    assert preview.attrs == {"experiments": 2, "nodes": 3}
    assert calls_of(research, n_iters=2) == {"load": 1, "walk": 4, "first": 2}


def test_stateful_roots_are_counted_by_group_and_iteration():
    research = Research(domain=Domain(a=[1, 2], b=[1, 2, 3])).add_generator(
        "walk", range, args=[9], root=True
    )
    research = research.add_callable("use", load, args=[O("walk")])
    assert calls_of(research, n_iters=4, branches=2) == {"walk": 12, "use": 24}
    assert research.preview(n_iters=4, branches=2).attrs["nodes"] == 3
    assert calls_of(research, n_iters=4) == {"walk": 4, "use": 24}


def test_blocks_of_repetitions_are_groups_of_one_stream_but_passes_of_their_own():
    research = Research(domain=Option("x", [1, 2, 3, 4]), n_reps=2, repeat_each=2)
    assert calls_of(research.add_callable("load", load, args=[E().iteration], root=True)) == {
        "load": 4
    }
    assert calls_of(research.add_callable("load", load, args=[E().random], root=True)) == {
        "load": 2
    }


def test_a_root_that_gets_a_copy_is_no_other_that_gets_none():
    research = Research(domain=Option("a", [1, 2])).add_callable(
        "copied", load, root=True, copy=True
    )
    research = research.add_callable("shared", load, root=True)
    research = research.add_callable("one", load, args=[O("copied")], root=True)
    research = research.add_callable("again", load, args=[O("copied")], root=True)
    research = research.add_callable("other", load, args=[O("shared")], root=True)
    assert calls_of(research) == {"copied": 1, "shared": 0, "one": 1, "again": 0, "other": 1}
    assert research.preview().attrs["nodes"] == n_nodes(research)


def test_a_list_of_branches_counts_with_its_configs():
    research = Research(domain=Option("a", [1, 2, 3, 4])).add_callable(
        "load", load, args=[EC("lr")], root=True
    )
    assert calls_of(research, branches=[{"lr": 1}, {"lr": 2}]) == {"load": 2}


def test_a_dask_argument_is_among_the_nodes():
    number = dask.delayed(load)(1)
    research = Research(domain=Option("a", [1, 2])).add_callable(
        "use", load, args=[number, EC("a")]
    )
    assert research.preview().attrs["nodes"] == n_nodes(research) - 1 == 3


def test_a_preview_runs_nothing_and_refuses_what_cannot_run():
    calls = []
    research = Research(domain=Option("a", [1])).add_callable(
        "load", lambda: calls.append(1), root=True
    )
    research.preview()
    assert calls == []
    with pytest.raises(ValueError, match="n_iters"):
        research.preview(n_iters=0)
    with pytest.raises(ValueError, match="no unit of that name"):
        research.add_callable("use", load, args=[O("laod")]).preview()
