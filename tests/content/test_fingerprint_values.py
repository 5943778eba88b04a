"""Digests are equal for values of equal content, and for no others."""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses
import datetime
import enum
import functools
import logging
import operator
import pathlib
import random
import re
import sys
import types
import typing
import weakref
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tests.content.test_fingerprint import digest


class Color(enum.Enum):
    """An enum with a method."""

    RED, GREEN = 1, 2

    def other(self) -> Color:
        return Color.RED


class Access(enum.Flag):
    """A flag."""

    READ, WRITE = 1, 2


class Size(enum.IntFlag):
    """A flag that is a number."""

    SMALL = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A data class without a dictionary."""

    x: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


class Pair(typing.NamedTuple):
    """A named tuple with a method."""

    a: int = 1

    def twice(self) -> int:
        return 2 * self.a


class Record(typing.TypedDict, total=False):
    """A typed dict."""

    a: int


class Walks(typing.Protocol):
    """A protocol."""

    def walk(self) -> int: ...


T = typing.TypeVar("T")


class Box(abc.ABC, typing.Generic[T]):
    """An abstract generic class with most things that a class can have."""

    log = logging.getLogger("box")
    pattern = re.compile("a+")

    def __init__(self, held: T) -> None:
        self.held = held

    @property
    @abc.abstractmethod
    def weight(self) -> int: ...

    @functools.cached_property
    def name(self) -> str:
        return "box"

    @functools.singledispatchmethod
    def put(self, thing: Any) -> int:
        return 0

    @put.register
    def _(self, thing: int) -> int:
        return thing

    @staticmethod
    @functools.lru_cache
    def count() -> int:
        return 1

    @classmethod
    def of(cls, held: T) -> Box[T]:
        return cls(held)

    of_one = functools.partialmethod(of, 1)


class Crate(Box[int]):
    """A concrete class."""

    __slots__ = ("lid",)

    def __init__(self, held: int, lid: Any = None) -> None:
        super().__init__(held)
        self.lid = lid

    @property
    def weight(self) -> int:
        return self.held

    def __call__(self, x: int) -> int:
        return x * self.held


class RefusalError(ValueError):
    """An exception with a state."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Tagged(np.ndarray):
    """An array with a tag."""


class Frame(pd.DataFrame):
    """A frame with a unit."""

    _metadata: typing.ClassVar[list[str]] = ["unit"]


class Words(list):
    """A list."""


class Names(set):
    """A set."""


class Anything:
    """Has every attribute that it is asked for."""

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 1


class Bell:
    """Must not be touched."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("touched")


def tagged(tag: str) -> Tagged:
    """Return an array with a tag."""
    array = np.zeros(2).view(Tagged)
    array.tag = tag  # type: ignore[attr-defined]
    return array


def in_unit(unit: str) -> Frame:
    """Return a frame with a unit."""
    frame = Frame({"a": [1]})
    frame.unit = unit
    return frame


def padded(filling: int) -> np.ndarray:
    """Return an array of records with a byte and seven that only fill up."""
    array = np.full(32, filling, np.uint8).view(np.dtype([("a", "i1"), ("b", "f8")], align=True))
    array["a"], array["b"] = 1, 2
    return array


def long_ones(filling: int) -> np.ndarray:
    """Return long numbers, of which a part only fills up."""
    array = np.full(32, filling, np.uint8).view("g")
    array[:] = 1
    return array


def keeping(k: Any) -> Callable[[], Any]:
    """Return one of many functions of the same name."""
    return lambda: k


def fitted() -> GradientBoostingClassifier:
    """Return trees, which are arrays of padded records."""
    x = np.random.default_rng(0).random((20, 2))
    return GradientBoostingClassifier(n_estimators=2, random_state=0).fit(x, np.arange(20) % 2)


def used(matrix: Any) -> Any:
    """Return a matrix that has found out about itself."""
    assert matrix.has_sorted_indices
    return matrix


COLUMNS = {
    "numbers": [1, 2],
    "texts": ["x", None],
    "category": pd.Categorical(["u", "v"]),
    "zone": pd.date_range("2020", periods=2, tz="Europe/Berlin"),
    "nullable": pd.array([1, None], "Int64"),
    "floats": pd.array([1.5, None], "Float64"),
    "truth": pd.array([True, None], "boolean"),
    "string": pd.array(["a", None], "string"),
    "period": pd.period_range("2020", periods=2, freq="M"),
    "interval": pd.interval_range(0, 2),
    "sparse": pd.arrays.SparseArray([0, 1]),
    "span": pd.to_timedelta([1, 2]),
    "arrow": pd.array([1, None], "int64[pyarrow]"),
    "objects": [[1], [2]],
}
FRAME = pd.DataFrame(COLUMNS)
INDEX = pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["x", "y"])
HISTOGRAM, OTHER_HISTOGRAM = np.histogram([1, 2, 3, 3]), np.histogram([1, 1, 2, 3])
BERLIN, PARIS = [
    datetime.datetime(2020, 1, 1, tzinfo=ZoneInfo(zone))
    for zone in ("Europe/Berlin", "Europe/Paris")
]

DIFFERENT: dict[str, list[Any]] = {
    "numbers": [1, 1.0, True, "1", b"1", 1j, np.int64(1), np.float64(1), np.float32(1),
        np.bool_(True), Decimal(1)],
    "digits": [Decimal("1.0"), Decimal("1.00"), 10**5000, 10**5000 + 1],
    "sequences": [[1, 2], (1, 2), [2, 1], {1: 2}, types.MappingProxyType({1: 2}), {1, 2},
        frozenset({1, 2}),
                  range(1, 3), Words([1, 2]), Names([1, 2]), deque([1, 2]), deque([1, 2], 2)],
    "mappings": [{"a": 1}, collections.OrderedDict(a=1), collections.Counter(a=1),
        collections.defaultdict(int, a=1),
                 collections.defaultdict(str, a=1), types.SimpleNamespace(a=1),
                 collections.ChainMap({"a": 1})],
    "times": [BERLIN, PARIS, BERLIN.replace(tzinfo=None), BERLIN.date(), datetime.timedelta(1)],
    "paths": [pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), pathlib.PurePosixPath("b"),
        "a"],
    "patterns": [re.compile("a"), re.compile("a", re.I), re.compile("b")],
    "enums": [Color.RED, Color.GREEN],
    "flags": [Access.READ, Access.WRITE, Access.READ | Access.WRITE, Access(0), Size(8), Size(16),
        re.I | re.M],
    "objects": [Point(), Point(2), Point(1, ["a"]), Pair(), Pair(2), Crate(1), Crate(2), Crate(1,
        "lid"),
                RefusalError(1), RefusalError(2), Anything(), Bell(), slice(1), slice(2),
                weakref.ref(Crate)],
    "callables": [Crate(1), Crate(1).__call__, Crate(2).__call__, Crate.of, Box.of,
        functools.partial(Crate, 1),
                  functools.partial(Crate, 2), keeping(1), keeping(2), Crate, Box, Box[int],
                  Box[str]],
    "builtins": [len, [1].append, [2].append, str.upper, str.lower, dict.fromkeys, (1).__add__,
        int.__add__,
                 operator.itemgetter(1), operator.itemgetter(2), operator.methodcaller("a", 1)],
    "functions of numpy": [np.add, np.subtract, np.trace, np.linalg.trace, np.cross,
        np.linalg.cross],
    "annotations": [int | str, int | None, list[int], list[str], typing.Any, typing.Literal["a"],
        "int"],
    "loggers": [logging.getLogger("a"), logging.getLogger("b")],
    "singletons": [None, ..., NotImplemented, sys, np],
    "classes": [Color, Access, Point, Pair, Record, Walks, Box, Crate, RefusalError, Tagged, Words,
        ValueError, dict],
    "generators": [np.random.default_rng(0), np.random.default_rng(1), np.random.RandomState(0),
        random.Random(0),
                   np.random.SeedSequence(0), np.random.SeedSequence(0).spawn(1)[0],
                   np.random.PCG64(0)],
    "orders": [np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).T, np.arange(4),
        np.arange(4).reshape(1, 2, 2)],
    "dtypes": [np.zeros(2), np.zeros(2, ">f8"), np.zeros(2, "i8"), np.zeros(2, "M8[s]"), np.zeros(2,
        "M8[ms]"),
               np.zeros(2, "g"), np.zeros(2, object), np.zeros(2, "S8"), np.zeros(2, np.dtype("f8",
               metadata={1: 2}))],
    "records": [np.zeros(2, [("a", "f4", (2,))]), np.zeros(2, [("a", "i4", (2,))]), np.zeros(2,
        [("b", "f4", (2,))]),
                np.rec.array(np.zeros(2, [("a", "f4", (2,))]))],
    "texts": [np.array(["a-b", "c"], object), np.array(["a", "b-c"], object), np.array(["a-b",
        "c"])],
    "masks": [np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.ma.array([1,
        2]), np.ma.masked],
    "arrays with more": [tagged("m"), tagged("s"), np.zeros(2), in_unit("m"), in_unit("s"),
        pd.DataFrame({"a": [1]})],
    "frames": [FRAME, *[FRAME.assign(**{name: FRAME[name].iloc[::-1].array}) for name in COLUMNS],
               FRAME.set_axis([5, 6]), FRAME[[*COLUMNS][::-1]],
               FRAME.rename(columns={"texts": "t"})],
    "series": [FRAME.numbers, FRAME.numbers.rename("n"), FRAME.numbers.astype("Int64"),
        FRAME.numbers.array],
    "indices": [INDEX, INDEX.set_names(["x", "z"]), pd.RangeIndex(2), pd.Index([0, 1]), pd.Index([0,
        1], name="i"),
                pd.date_range("2020", periods=1), pd.date_range("2020", periods=1, freq="h")],
    "categories": [pd.Categorical(["a"]), pd.Categorical(["a"], ["a", "b"]), pd.Categorical(["a"],
        ordered=True)],
    "intervals": [pd.Interval(0, 1), pd.Interval(0, 1, "left"), pd.interval_range(0, 1),
                  pd.interval_range(0, 1, closed="left")],
    "sparse": [*[sparse.coo_array(np.eye(3)).asformat(kind) for kind in ("csr", "csc", "coo", "lil",
        "dok", "dia")],
               sparse.csr_matrix(np.eye(3)), sparse.csr_array(2 * np.eye(3))],
    "distributions": [stats.norm(), stats.norm(0, 2), stats.cauchy(), stats.norm,
        stats.rv_histogram(HISTOGRAM)(),
                      stats.rv_histogram(OTHER_HISTOGRAM)(), stats.multivariate_normal([0, 0]),
                      stats.multivariate_normal([0, 1]),
                      *[stats.rv_discrete(values=([1, 2], [p, 1 - p]))() for p in (0.25, 0.5)]],
    "estimators": [LogisticRegression(), LogisticRegression(C=2), make_pipeline(StandardScaler(),
        LogisticRegression()),
                   FunctionTransformer(np.log), FunctionTransformer(np.exp),
                   FunctionTransformer(keeping(1))],
}  # fmt: skip


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_values_that_behave_otherwise_have_other_digests(values):
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_values_are_hashed_again_and_as_copies_to_the_same_digest(values):
    for value in values:
        assert digest(value) == digest(value)
        if type(value) in {
            np.ndarray,
            pd.DataFrame,
            pd.Series,
            pd.Index,
            Crate,
            Point,
            list,
            dict,
            LogisticRegression,
        }:
            assert digest(copy.deepcopy(value)) == digest(value)


SAME: dict[str, Callable[[], list[Any]]] = {
    "memory between the fields of records": lambda: [padded(0), padded(255)],
    "memory between long numbers": lambda: [long_ones(0), long_ones(255)],
    "a view": lambda: [np.arange(8.0)[::2], np.arange(0, 8.0, 2), np.arange(8.0)[::2].copy()],
    "a view in the order of memory": lambda: [
        np.eye(4)[:3, :2].T,
        copy.deepcopy(np.eye(4)[:3, :2].T),
    ],
    "unused levels": lambda: [
        INDEX[:2],
        pd.MultiIndex.from_product([[1], ["a", "b"]], names=["x", "y"]),
    ],
    "blocks": lambda: [pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"a": [1]}).assign(b=2)],
    "sets": lambda: [set("abcdef"), set("fedcba"), {*"abc"} | {*"def"}],
    "sets of functions": lambda: [
        {keeping(i) for i in order} for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1))
    ],
    "sets of objects": lambda: [
        {Crate(i, keeping(i)) for i in order} for order in ((1, 2, 3), (3, 1, 2))
    ],
    "a matrix that was used": lambda: [
        sparse.csr_array(np.eye(3)),
        used(sparse.csr_array(np.eye(3))),
    ],
    "fitted trees": lambda: [fitted(), fitted(), copy.deepcopy(fitted())],
    "distributions of one content": lambda: [stats.norm(0, 1), stats.norm(0, 1)],
    "caches": lambda: [weakref.WeakValueDictionary(), weakref.WeakValueDictionary()],
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_how_a_value_came_about_does_not_count(make):
    assert len({digest(value) for value in make()}) == 1


def test_the_state_of_what_the_process_has_one_of_does_not_count(monkeypatch):
    ones = [random.gauss, random.random, np.random.normal, stats.norm(), sys.modules["os"].environ]
    before = [digest(one) for one in ones]
    random.gauss(0, 1), np.random.normal()  # noqa: NPY002
    monkeypatch.setenv("OF_THIS_TEST", "1")
    assert [digest(one) for one in ones] == before


def test_the_streams_of_the_process_count_by_name():
    def say(file: Any = sys.stdout) -> None:
        file.write("a")

    assert digest(say) == digest(say)


def test_a_generator_counts_with_its_state():
    rng = np.random.default_rng(0)
    before, bound = digest(rng), digest(rng.normal)
    rng.random()
    assert (digest(rng), digest(rng.normal)) != (before, bound)
