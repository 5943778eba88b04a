"""Keys are the same in every process, and say what changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from daskresearch import EC, O, Option, Research
from daskresearch.errors import HashError
from tests.keys.test_plan_keys import key, made
from tests.support.running import note, noted, saying

FOLDER = Path(__file__).parents[2]

SCRIPT = '''
import abc, collections, dataclasses, enum, functools, logging, pathlib, re, typing
import numpy as np
import pandas as pd
from daskresearch import Option, Research

FACTOR = 3
NAMES = frozenset({"a", "b", "c"})
log = logging.getLogger(__name__)

def helper(x):
    return x * FACTOR

def plain(x, y=2, *, z={"k": {1, 2}}):
    log.info("called")
    return helper(x) in {"p", "q", "r"} or x in NAMES

def around(k):
    def inner(x): return x + k
    return inner

def lazy(x):
    import scipy.special, colorsys
    return scipy.special.gamma(x)

class Base(abc.ABC):
    @abc.abstractmethod
    def m(self): ...

class Model(Base):
    """A model."""
    kinds = {"lin", "log", "exp"}
    def __init__(self, k): self.k = k
    def m(self):
        """Return it."""
        return self.k
    @functools.cached_property
    def p(self): return self.k
    def __call__(self, x): return x

class Mode(enum.Enum):
    ON, OFF = 1, 2
    @property
    def other(self): return Mode.OFF

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int = 1
    tags: frozenset = dataclasses.field(default_factory=frozenset)

class Pair(typing.NamedTuple):
    a: int
    b: str = "b"

class Names(set):
    pass

THINGS = {
    "plain": plain, "lambda": lambda x: x + FACTOR, "closure": around(3),
    "partial": functools.partial(plain, y=3),
    "lazy": lazy, "class": Model, "bound": Model(2).m, "callable": Model(3),
    "cached": functools.lru_cache(plain),
    "vectorized": np.vectorize(plain), "library": pd.DataFrame.mean,
}
VALUES = {
    "set": {"a", "b", "c"}, "frozenset": frozenset("abc"),
    "sets": {frozenset("ab"), frozenset("cd"), ("e", 1)},
    "names": Names("abc"), "instance": Model({"x", "y"}), "enum": Mode.ON,
    "point": Point(2, frozenset("ab")),
    "pair": Pair(1), "functions": {plain, helper, around(1), around(2)},
    "objects": {Mode.ON, Mode.OFF, Model, Point},
    "array": np.arange(6.0).reshape(2, 3), "fortran": np.arange(6).reshape(2, 3).T,
    "texts": np.array(["a", "bc"]),
    "objects array": np.array(["a", None, {"b", "c"}], object), "rng": np.random.default_rng(5),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
    "counter": collections.Counter("abca"), "path": pathlib.PurePath("a/b"),
    "pattern": re.compile("a+", re.I), "type": typing.Optional[int], "exception": ValueError("a"),
}

def keys(**unit):
    research = Research(domain=Option("x", [1])).add_callable("unit", root=True, **unit)
    return [key for key in research.__dask_graph__() if key.startswith("unit-")]

for name, thing in THINGS.items():
    print(name, *keys(func=thing))
for name, value in VALUES.items():
    print(name, *keys(func=print, args=[value]))
'''
MOVED = "# another file\n\n\n" + SCRIPT.replace(
    "\n    return", "\n    # a comment\n\n    return"
).replace('"""A model."""', '"""Another text."""')
CELL = (
    f"import colorsys, scipy.special; exec(compile({SCRIPT!r}, '<ipython-input-3-2a1f>', 'exec'))"
)


@pytest.mark.slow
def test_keys_are_the_same_in_every_process(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "moved.py").write_text(MOVED)
    runs = [["script.py"], ["moved.py"], ["-c", CELL]]
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(FOLDER)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, arguments in enumerate(runs)
    ]
    first, *others = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(runs)
    assert len({line.rpartition(" ")[2] for line in first}) == len(first) > 25
    for other in others:
        assert other == first


def explained(one: str, other: str) -> set[tuple[str, str]]:
    """Return the kinds and names of the parts in which the function f of two sources differs."""
    researches = [
        Research(domain=Option("x", [1])).add_callable("unit", made(source))
        for source in (one, other)
    ]
    here, there = [research.run(bar=False, dump_results=False).results for research in researches]
    (experiment_id,) = here.configs_to_df().id
    changed = here.explain(experiment_id, against=there)
    return set(zip(changed.part, changed.name, strict=True))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(): return {}", {("code", "f")}),
        ("def h(): return {}\ndef f(): return h()", {("code", "h")}),
        ("K = {}\ndef h(): return K\ndef f(): return h()", {("global", "K")}),
        ("def f(k={}): return k", {("default", "f: k")}),
        ("def make(k): return lambda: k\nf = make({})", {("closure", "make.<locals>.<lambda>: k")}),
        ("def f(): return f.k\nf.k = {}", {("attribute", "f: k")}),
        ("class C:\n def m(self): return {}\ndef f(): return C().m()", {("code", "C.m")}),
        ("class C:\n k = {}\ndef f(): return C.k", {("class", "C")}),
        ("f = functools.partial(pow, 2, {})", {("function", "partial")}),
    ],
)
def test_an_explanation_names_what_changed(source, names):
    assert explained(source.format(1), source.format(2)) == names


def test_an_explanation_names_a_changed_argument():
    researches = [
        Research(domain=Option("x", [1])).add_callable("unit", dict, a=1, b=b) for b in (1, 2)
    ]
    here, there = [research.run(bar=False, dump_results=False).results for research in researches]
    changed = here.explain(here.configs_to_df().id[0], against=there)
    assert changed.to_numpy().tolist() == [["unit", "argument", "b", "1", "2"]]


LOCK = "import threading\n"


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        (LOCK + "def f(k={'a': [threading.Lock()]}): return k", ["default 'k' of f", "['a'][0]"]),
        (
            LOCK + "K = threading.Lock()\ndef h(): return K\ndef f(): return h()",
            ["global 'K' of h"],
        ),
        (
            LOCK + "def make(k):\n def f(): return k\n return f\nf = make((1, threading.Lock()))",
            ["closure 'k'", "[1]"],
        ),
        (LOCK + "class C:\n k = [threading.Lock()]\ndef f(): return C", ["class C.k: [0]"]),
        (
            LOCK
            + "class C:\n def m(self): return self.k\nf = C()\nf.k = threading.Lock()\nf = f.m",
            [".__self__.k"],
        ),
        ("f = np.frompyfunc(lambda x: x, 1, 1)", ["ufunc", "which function it was made of"]),
    ],
)
def test_code_that_cannot_be_hashed_is_refused_with_the_way_to_it(source, texts):
    with pytest.raises(
        HashError, match=saying("'unit'", *texts, "cannot be hashed", "version='1'")
    ):
        key(made(source))


class Net:
    """Holds what has no content."""

    def __init__(self) -> None:
        self.parts = {"lock": threading.Lock()}


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (threading.Lock(), ["lock"]),
        (object(), ["type object", "no content to compare"]),
        ((n for n in ()), ["generator"]),
        ([1, {"a": (2, threading.Lock())}], ["[1]['a'][1]", "lock"]),
        ({"net": Net()}, ["['net'].parts['lock']", "lock"]),
        (np.array([1, threading.Lock()], object), ["[1]", "lock"]),
    ],
    ids=["lock", "object", "generator", "nested", "instance", "array"],
)
def test_an_argument_that_cannot_be_hashed_is_refused_with_the_way_to_it(value, texts):
    for given, name in [({"args": [0, value]}, "argument '1'"), ({"k": value}, "argument 'k'")]:
        research = Research(domain=Option("x", [1])).add_callable("unit", print, root=True, **given)
        with pytest.raises(
            HashError, match=saying("'unit'", name, *texts, "make it inside the unit")
        ):
            research.__dask_graph__()


def test_a_value_of_a_parameter_that_cannot_be_hashed_is_refused_with_the_way_to_it():
    research = Research(domain=Option("x", [1, Net()])).add_callable(
        "unit", print, args=[EC("x")], root=True
    )
    with pytest.raises(HashError, match=saying("'unit'", "'x'", "parts['lock']", "lock")):
        research.__dask_graph__()


def test_a_version_stands_for_code():
    one, other = made("K = 1\ndef f(): return K"), made("K = 2\ndef f(): return K")
    assert key(one, version="1") == key(other, version="1")
    assert key(one, version="1") != key(one, version="2")
    assert key(one, version="1") != key(one)
    locked = made(LOCK + "K = threading.Lock()\ndef f(): return K")
    assert key(locked, version="1") == key(one, version="1")


def size(path: str, value: Any) -> int:
    """Note the call, and return the size of a value."""
    note(path, "size")
    return len(value)


@pytest.mark.parametrize(
    ("values", "n_calls"),
    [
        ([np.eye(2), np.eye(2), np.asfortranarray(np.eye(2))], 2),
        ([np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).T], 2),
        (
            [
                np.array(["a-b", "c"], object),
                np.array(["a", "b-c"], object),
                np.array(["a-b", "c"], object),
            ],
            2,
        ),
        ([np.array([1, 2]), np.array([1.0, 2.0]), np.array([1, 2])], 2),
        ([[1, 2], [2, 1], (1, 2), [1, 2]], 3),
        ([{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": 2}], 2),
        ([pd.Series([1, 2]), pd.Series([1, 2], name="s"), pd.Series([1, 2])], 2),
        ([frozenset("ab"), frozenset("ba"), {"a", "b"}], 2),
    ],
    ids=["orders", "transposed", "texts", "dtypes", "lists", "dicts", "series", "sets"],
)
def test_values_share_a_call_if_and_only_if_they_have_the_same_content(tmp_path, values, n_calls):
    calls = tmp_path / "calls"
    research = Research(domain=Option("x", values)).add_callable(
        "size", size, [str(calls), EC("x")], root=True
    )
    assert not research.run(bar=False, dump_results=False).results.failures.size
    assert noted(calls) == ["size"] * n_calls


def test_a_sentinel_of_code_does_not_prevent_sharing():
    source = "MISSING = object()\ndef f(x=MISSING): return x is MISSING"
    assert key(made(source)) == key(made(source))


def test_the_name_of_a_unit_upstream_does_not_count():
    def total(x: int) -> int:
        return x

    keys = []
    for name in ("one", "other"):
        research = Research(domain=Option("x", [1])).add_callable(
            name, len, args=["abc"], root=True
        )
        research = research.add_callable("unit", total, args=[O(name)], root=True)
        keys.append([one for one in research.__dask_graph__() if str(one).startswith("unit-")])
    assert keys[0] == keys[1]
