"""Keys follow what code does, wherever it stands and however it is reached, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from daskresearch import Option, Research

IMPORTS = (
    "import collections, contextlib, dataclasses, enum, functools, typing\nimport numpy as np\n"
)

cells = itertools.count(1)


def made(source: str, name: str = "f") -> Any:
    """Run a source as a cell of a notebook does, and return what it calls by this name."""
    scope = {"__name__": "__main__"}
    exec(compile(IMPORTS + source, f"<ipython-input-{next(cells)}>", "exec"), scope)
    return scope[name]


def key(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Return the key of a root unit with this function, as it stands in the graph."""
    research = Research(domain=Option("x", [1])).add_callable(
        "unit", function, args=args, root=True, **options
    )
    (found,) = [one for one in research.__dask_graph__() if str(one).startswith("unit-")]
    return str(found)


def key_of(source: str) -> str:
    """Return the key of a root unit with the function f of a source."""
    return key(made(source))


OTHER_CODE = {
    "a constant": ("def f(): return 1", "def f(): return 2"),
    "the type of a constant": ("def f(): return 1", "def f(): return True"),
    "the sign of zero": ("def f(): return 0.0", "def f(): return -0.0"),
    "a constant in a tuple": ("def f(): return ((1, 2),)", "def f(): return ((1, 2.0),)"),
    "a constant in a set": ("def f(x): return x in {'a', 'b'}", "def f(x): return x in {'a', 'c'}"),
    "an operator": ("def f(x): return x + 1", "def f(x): return x - 1"),
    "an attribute": ("def f(x): return x.real", "def f(x): return x.imag"),
    "a name of an argument in a call": ("def f(x): return x(a=1)", "def f(x): return x(b=1)"),
    "the order of arguments": ("def f(x, y): return x - y", "def f(y, x): return x - y"),
    "what is caught": (
        "def f(x):\n try: x()\n except ValueError: return 1",
        "def f(x):\n try: x()\n except TypeError: return 1",
    ),
    "a generator": ("def f(): return 1", "def f(): yield 1"),
    "a default": ("def f(x=1): return x", "def f(x=2): return x"),
    "a keyword's default": ("def f(*, x=1): return x", "def f(*, x=2): return x"),
    "a mutable default": ("def f(x=[]): return x", "def f(x=[1]): return x"),
    "a global": ("K = 1\ndef f(): return K", "K = 2\ndef f(): return K"),
    "a global in a comprehension": (
        "K = 1\ndef f(x): return [K for _ in x]",
        "K = 2\ndef f(x): return [K for _ in x]",
    ),
    "a global in a lambda": (
        "K = 1\nf = lambda: (lambda: K)()",
        "K = 2\nf = lambda: (lambda: K)()",
    ),
    "a global in a class in a function": (
        "K = 1\ndef f():\n class A: k = K\n return A.k",
        "K = 2\ndef f():\n class A: k = K\n return A.k",
    ),
    "a builtin's name": (
        "def f(x): return len(x)",
        "def len(x): return 3\ndef f(x): return len(x)",
    ),
    "a closure": (
        "def make(k):\n def f(): return k\n return f\nf = make(1)",
        "def make(k):\n def f(): return k\n return f\nf = make(2)",
    ),
    "a counter around": (
        "def make(n):\n def f():\n  nonlocal n\n  n += 1\n  return n\n return f\nf = make(0)",
        "def make(n):\n def f():\n  nonlocal n\n  n += 1\n  return n\n return f\nf = make(5)",
    ),
    "a function around": (
        "def make(h): return lambda: h()\nf = make(lambda: 1)",
        "def make(h): return lambda: h()\nf = make(lambda: 2)",
    ),
    "two closures of one function": (
        "def make(k): return lambda: k\na, b = make(1), make(2)\ndef f(): return a() - b()",
        "def make(k): return lambda: k\na, b = make(2), make(1)\ndef f(): return a() - b()",
    ),
    "a helper": (
        "def h(): return 1\ndef f(): return h()",
        "def h(): return 2\ndef f(): return h()",
    ),
    "a helper's helper": (
        "def g(): return 1\ndef h(): return g()\ndef f(): return h()",
        "def g(): return 2\ndef h(): return g()\ndef f(): return h()",
    ),
    "an attribute of the function": (
        "def f(): return f.k\nf.k = 1",
        "def f(): return f.k\nf.k = 2",
    ),
    "which of two functions that call each other": (
        "def f(n): return n and g(n - 1)\ndef g(n): return n - 1 and f(n)",
        "def g(n): return n and f(n - 1)\ndef f(n): return n - 1 and g(n)",
    ),
    "a function in a registry": (
        "R = {}\ndef f(): return R['g']()\ndef g(): return 1\nR['f'], R['g'] = f, g",
        "R = {}\ndef f(): return R['g']()\ndef g(): return 2\nR['f'], R['g'] = f, g",
    ),
    "a partial": ("f = functools.partial(pow, 2, 3)", "f = functools.partial(pow, 2, 4)"),
    "a bound method's object": (
        "class A:\n def __init__(self, k): self.k = k\n def m(self): return self.k\nf = A(1).m",
        "class A:\n def __init__(self, k): self.k = k\n def m(self): return self.k\nf = A(2).m",
    ),
    "a class method's class": (
        "class A:\n k = 1\n @classmethod\n def m(cls): return cls.k\nf = A.m",
        "class A:\n k = 2\n @classmethod\n def m(cls): return cls.k\nf = A.m",
    ),
    "what a user's decorator wraps": (
        "def d(g):\n @functools.wraps(g)\n def w(*a): return g(*a)\n return w\n@d\ndef f(): return "
        "1",
        "def d(g):\n @functools.wraps(g)\n def w(*a): return g(*a)\n return w\n@d\ndef f(): return "
        "2",
    ),
    "what a library's decorator wraps": (
        "@np.errstate(all='ignore')\ndef f(x): return x + 1",
        "@np.errstate(all='ignore')\ndef f(x): return x + 2",
    ),
    "what a library's decorator is told": (
        "@np.errstate(all='ignore')\ndef f(x): return x / 0",
        "@np.errstate(all='raise')\ndef f(x): return x / 0",
    ),
    "a context manager": (
        "@contextlib.contextmanager\ndef h(): yield 1\ndef f():\n with h() as k: return k",
        "@contextlib.contextmanager\ndef h(): yield 2\ndef f():\n with h() as k: return k",
    ),
    "a cached function": (
        "@functools.lru_cache\ndef f(): return 1",
        "@functools.lru_cache\ndef f(): return 2",
    ),
    "a cached partial": (
        "f = functools.lru_cache(functools.partial(pow, 2))",
        "f = functools.lru_cache(functools.partial(pow, 3))",
    ),
    "an implementation of a dispatching function": (
        "@functools.singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: int): return 1",
        "@functools.singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: int): return 2",
    ),
    "a vectorized function": (
        "f = np.vectorize(lambda x: x + 1)",
        "f = np.vectorize(lambda x: x + 2)",
    ),
    "how a function is vectorized": (
        "f = np.vectorize(lambda x: x, otypes=[int])",
        "f = np.vectorize(lambda x: x, otypes=[float])",
    ),
    "a library's function of the same name": ("f = np.trace", "f = np.linalg.trace"),
    "a docstring that is read": (
        "def f():\n 'a'\n return f.__doc__",
        "def f():\n 'b'\n return f.__doc__",
    ),
}


@pytest.mark.parametrize(("one", "other"), OTHER_CODE.values(), ids=OTHER_CODE)
def test_other_code_has_another_key(one, other):
    assert key_of(one) != key_of(other)


OTHER_CLASSES = {
    "a method": ("class C:\n def m(self): return 1", "class C:\n def m(self): return 2"),
    "an inherited method": (
        "class B:\n def m(self): return 1\nclass C(B): pass",
        "class B:\n def m(self): return 2\nclass C(B): pass",
    ),
    "the order of bases": (
        "class A:\n m = 1\nclass B:\n m = 2\nclass C(A, B): pass",
        "class A:\n m = 1\nclass B:\n m = 2\nclass C(B, A): pass",
    ),
    "an attribute": ("class C: k = 1", "class C: k = 2"),
    "slots": ("class C: __slots__ = ('a',)", "class C: __slots__ = ('b',)"),
    "a property": (
        "class C:\n @property\n def m(self): return 1",
        "class C:\n @property\n def m(self): return 2",
    ),
    "a cached property": (
        "class C:\n @functools.cached_property\n def m(self): return 1",
        "class C:\n @functools.cached_property\n def m(self): return 2",
    ),
    "a property of a user's kind": (
        "class P(property):\n def __get__(self, *a): return 1\nclass C:\n @P\n def m(self): return "
        "0",
        "class P(property):\n def __get__(self, *a): return 2\nclass C:\n @P\n def m(self): return "
        "0",
    ),
    "a class method": (
        "class C:\n @classmethod\n def m(cls): return 1",
        "class C:\n @classmethod\n def m(cls): return 2",
    ),
    "a static method that was none": (
        "class C:\n def m(s=1): return s",
        "class C:\n m = staticmethod(lambda s=1: s)",
    ),
    "a metaclass": (
        "class M(type):\n def __call__(cls): return 1\nclass C(metaclass=M): pass",
        "class M(type):\n def __call__(cls): return 2\nclass C(metaclass=M): pass",
    ),
    "a global of a method": (
        "K = 1\nclass C:\n def m(self): return K",
        "K = 2\nclass C:\n def m(self): return K",
    ),
    "annotations": ("class C: k: int", "class C: k: float"),
    "parameters of a generic base": (
        "T = typing.TypeVar('T')\nclass B(typing.Generic[T]): pass\nclass C(B[int]): pass",
        "T = typing.TypeVar('T')\nclass B(typing.Generic[T]): pass\nclass C(B[str]): pass",
    ),
    "members of an enum": (
        "class C(enum.Enum):\n A = 1\n B = 2",
        "class C(enum.Enum):\n A = 2\n B = 1",
    ),
    "a property of an enum": (
        "class C(enum.Enum):\n A = 1\n @property\n def m(self): return 1",
        "class C(enum.Enum):\n A = 1\n @property\n def m(self): return 2",
    ),
    "how an enum is made": (
        "class C(enum.Enum):\n A = 1\n def __new__(cls, x):\n  o = object.__new__(cls); o._value_ "
        "= x; return o",
        "class C(enum.Enum):\n A = 1\n def __new__(cls, x):\n  o = object.__new__(cls); o._value_ "
        "= -x; return o",
    ),
    "a field of a data class": (
        "@dataclasses.dataclass\nclass C: k: int = 1",
        "@dataclasses.dataclass\nclass C: k: int = 2",
    ),
    "a factory of a data class": (
        "@dataclasses.dataclass\nclass C: k: list = dataclasses.field(default_factory=lambda: [1])",
        "@dataclasses.dataclass\nclass C: k: list = dataclasses.field(default_factory=lambda: [2])",
    ),
    "metadata of a data class": (
        "@dataclasses.dataclass\nclass C: k: int = dataclasses.field(default=1, metadata={'unit': "
        "'m'})",
        "@dataclasses.dataclass\nclass C: k: int = dataclasses.field(default=1, metadata={'unit': "
        "'s'})",
    ),
    "a data class made by a call": (
        "C = dataclasses.make_dataclass('C', [('k', int, dataclasses.field(default=1))])",
        "C = dataclasses.make_dataclass('C', [('k', int, dataclasses.field(default=2))])",
    ),
    "a named tuple": (
        "C = collections.namedtuple('C', 'a b')",
        "C = collections.namedtuple('C', 'b a')",
    ),
}


@pytest.mark.parametrize(("one", "other"), OTHER_CLASSES.values(), ids=OTHER_CLASSES)
def test_other_classes_have_another_key(one, other):
    uses = "\ndef f(): return C"
    assert key_of(one + uses) != key_of(other + uses)


SAME_CODE = {
    "lines and comments": (
        "def f(x):\n k = 1\n return x + k",
        "\n\n# first\ndef f(x):\n k = 1  # one\n\n return (\n  x\n  + k)",
    ),
    "a docstring": ("def f(x):\n x + 1", "def f(x):\n 'Add.'\n x + 1"),
    "docstrings inside": (
        "def f():\n def g():\n  'a'\n  return 1\n class A:\n  'a'\n return g, A",
        "def f():\n def g():\n  'b'\n  return 1\n class A:\n  'b'\n return g, A",
    ),
    "docstrings of a class": (
        "class A:\n 'a'\n @property\n def m(self):\n  'a'\n  return 1\ndef f(): return A().m",
        "class A:\n 'b'\n @property\n def m(self):\n  'b'\n  return 1\ndef f(): return A().m",
    ),
    "annotations of a function": ("def f(x): return x", "def f(x: int) -> int: return x"),
    "what it does not read": (
        "K = 1\ndef f(): return 1",
        "K = 2\ndef g(): return K\ndef f(): return 1",
    ),
    "the order of definitions": (
        "def g(): return 1\ndef h(): return 2\ndef f(): return g() + h()",
        "def h(): return 2\ndef f(): return g() + h()\ndef g(): return 1",
    ),
    "a cell that ran again": (
        "def f(x): return x in {'a', 'b'}",
        "def f(x): return x in {'a', 'b'}",
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME_CODE.values(), ids=SAME_CODE)
def test_other_looks_keep_the_key(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    "source",
    [
        "@functools.lru_cache\ndef f(x): return x",
        "@functools.singledispatch\ndef f(x): return x\n@f.register\ndef _(x: int): return 1",
        "f = np.vectorize(lambda x: x, otypes=[int])",
        "from random import random, gauss\ndef f(x): return random() + gauss(0, 1)",
        "from numpy.random import normal\ndef f(x): return normal()",
    ],
    ids=["lru_cache", "singledispatch", "vectorize", "random", "numpy.random"],
)
def test_a_call_does_not_change_the_key(source):
    function = made(source)
    before = key(function)
    function(3)
    assert key(function) == before
