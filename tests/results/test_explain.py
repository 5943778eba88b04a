"""What keys are made of is told, and what differs between two experiments or two runs."""

from __future__ import annotations

from typing import Any

import pytest

from daskresearch import EC, Domain, E, O, Option, Research
from daskresearch.errors import OptionError

FACTOR = 2


def scaled(x: int) -> int:
    """Return the number times a global one."""
    return FACTOR * x


def load(path: str, n: int = 3) -> list[int]:
    """Return some numbers."""
    return [scaled(i) for i in range(n)]


def train(data: list[int], lr: float, random: Any) -> float:
    """Return a number."""
    return sum(data) * lr + random.random()


def sweep(function: Any = load, **arguments: Any) -> Research:
    """Return a research of a root and a branch."""
    return (
        Research(domain=Domain(lr=[0.1, 0.2]), n_reps=2)
        .add_callable("load", function, args=["a.csv"], root=True, **arguments)
        .add_callable(train, args=[O("load"), EC("lr"), E().random], save_to="loss")
        .options(seed=3, bar=False, dump_results=False)
    )


def parts(frame: Any) -> list[tuple[str, str, str]]:
    """Return the rows of an explanation without values."""
    return list(zip(frame.unit, frame.part, frame.name, strict=True))


def test_an_explanation_has_every_part_of_each_key():
    results = sweep().run().results
    frame = results.explain(results.df.id[0])
    assert list(frame.columns) == ["unit", "key", "part", "name", "value"]
    assert parts(frame) == [
        ("load", "kind", "callable"),
        ("load", "python", "version"),
        ("load", "code", "load"),
        ("load", "default", "load: n"),
        ("load", "code", "scaled"),
        ("load", "global", "FACTOR"),
        ("load", "argument", "0"),
        ("train", "kind", "callable"),
        ("train", "python", "version"),
        ("train", "code", "train"),
        ("train", "argument", "0"),
        ("train", "argument", "1"),
        ("train", "argument", "2"),
        ("train", "config", "lr"),
        ("train", "upstream", "load"),
        ("train", "stream", "E().random"),
    ]
    values = {
        (part, name): value
        for part, name, value in zip(frame.part, frame["name"], frame.value, strict=True)
    }
    assert values["global", "FACTOR"] == "2"
    assert values["argument", "1"] == "EC('lr')"
    assert values["config", "lr"] == "0.1"
    assert values["upstream", "load"] == frame.key[0]
    assert "test_explain.py" in values["code", "load"]


def test_keys_of_roots_are_those_of_the_graph():
    research = sweep().run()
    frame = research.results.explain(research.results.df.id[0])
    assert frame.key[0] in dict(research.__dask_graph__())
    assert frame.key[0].startswith("load-")


def test_what_differs_between_two_experiments_is_told():
    results = sweep().run().results
    first, other, repeated, _ = results.df.id
    assert parts(results.explain(first, against=first)) == []
    frame = results.explain(first, against=other)
    assert parts(frame) == [("train", "config", "lr"), ("train", "stream", "E().random")]
    assert (frame.value[0], frame.there[0]) == ("0.1", "0.2")
    assert parts(results.explain(first, against=repeated)) == [("train", "stream", "E().random")]


def test_what_differs_from_another_run_is_told(monkeypatch):
    before = sweep().run().results
    again = sweep().run().results
    first = before.df.id[0]
    assert parts(before.explain(first, against=again)) == []
    monkeypatch.setitem(globals(), "FACTOR", 5)
    frame = before.explain(first, against=sweep().run().results)
    assert parts(frame) == [("load", "global", "FACTOR"), ("train", "upstream", "load")]
    assert (frame.value[0], frame.there[0]) == ("2", "5")


def test_a_changed_helper_argument_default_or_seed_is_told(monkeypatch):
    before = sweep().run().results
    first = before.df.id[0]

    def compared(research: Research) -> list[tuple[str, str, str]]:
        return parts(before.explain(first, against=research.run().results))

    def loading(path: str, n: int = 4) -> list[int]:
        return [scaled(i) for i in range(n)]

    changed = compared(sweep(loading))
    assert ("load", "code", "load") in changed
    assert ("train", "upstream", "load") in changed
    assert compared(sweep(n=3))[0] == ("load", "argument", "n")
    assert compared(sweep().options(seed=4)) == [("train", "stream", "E().random")]
    assert ("load", "version", "load") in compared(sweep(version="2"))
    monkeypatch.setitem(globals(), "scaled", lambda x: FACTOR * x + 0)
    assert ("load", "code", "scaled") in compared(sweep())


def test_experiments_of_other_runs_are_found_by_config_or_id():
    one, other = sweep().run().results, sweep().options(seed=9).run().results
    frame = one.explain(one.df.id[1], against=other)
    assert parts(frame) == [("train", "stream", "E().random")]
    frame = one.explain(one.df.id[1], against=other, against_id=other.df.id[0])
    assert parts(frame) == [("train", "config", "lr"), ("train", "stream", "E().random")]
    lone = (
        Research(domain=Option("z", [1]))
        .add_callable("load", load, args=["a.csv"])
        .run(bar=False, dump_results=False)
        .results
    )
    with pytest.raises(OptionError, match="no experiment with the config"):
        one.explain(one.df.id[0], against=lone)


def test_an_unknown_experiment_is_refused_with_the_one_that_is_near():
    results = sweep().run().results
    with pytest.raises(OptionError, match="did you mean"):
        results.explain(results.df.id[0][:-1])
    with pytest.raises(OptionError, match="no experiment 'x'"):
        results.explain("x")


def test_a_unit_that_cannot_be_hashed_is_explained_by_the_reason():
    import threading

    research = Research().add_callable(
        "hold", lambda lock: lock.locked(), args=[threading.Lock()], save_to="held"
    )
    results = research.run(bar=False, dump_results=False).results
    frame = results.explain(results.df.id[0])
    assert list(frame.part) == ["none"]
    assert "cannot be hashed" in frame.key[0]
    assert "argument '0'" in frame.key[0]


def test_groups_and_iterations_have_a_place_in_keys():
    research = Research(domain=Option("a", [1, 2, 3, 4])).add_generator(
        "walk", range, args=[3], root=True
    )
    research = research.add_callable(
        "draw", lambda random: random.random(), args=[E().random], root=True
    )
    research = research.add_callable("use", pow, args=[O("walk"), O("draw")], save_to="y")
    results = research.run(n_iters=2, branches=2, seed=1, bar=False, dump_results=False).results
    ids = results.configs_to_df().id
    keys = [dict(zip(frame.unit, frame.key, strict=True)) for frame in map(results.explain, ids)]
    assert keys[0]["walk"] == keys[1]["walk"] != keys[2]["walk"] == keys[3]["walk"]
    assert keys[0]["draw"] == keys[1]["draw"] != keys[2]["draw"]
    difference = results.explain(ids[0], against=ids[2])
    assert ("draw", "stream", "E().random") in parts(difference)
