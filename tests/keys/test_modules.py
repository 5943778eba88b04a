"""Keys follow the user's modules, however code reaches them, and libraries by name and version."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

import pytest

from tests.keys.test_plan_keys import key, key_of

EDITS = {
    "a function": ("def g(): return 1", "def g(): return 2", "{m}.g()"),
    "a class": (
        "class C:\n def m(self): return 1",
        "class C:\n def m(self): return 2",
        "{m}.C().m()",
    ),
    "a lambda": ("g = lambda: 1", "g = lambda: 2", "{m}.g()"),
    "a value": ("K = 1", "K = 2", "{m}.K"),
    "a helper": (
        "def h(): return 1\ndef g(): return h()",
        "def h(): return 2\ndef g(): return h()",
        "{m}.g()",
    ),
    "a decorated function": (
        "import numpy\n@numpy.errstate(all='ignore')\ndef g(): return 1",
        "import numpy\n@numpy.errstate(all='ignore')\ndef g(): return 2",
        "{m}.g()",
    ),
    "what it makes when asked": (
        "def __getattr__(name):\n if name == 'g': return lambda: 1\n raise AttributeError(name)",
        "def __getattr__(name):\n if name == 'g': return lambda: 2\n raise AttributeError(name)",
        "{m}.g()",
    ),
}
WAYS = {
    "module.attribute": ("helping", "import helping\ndef f(): return {use}"),
    "submodule": ("helpings.inner", "import helpings.inner\ndef f(): return {use}"),
    "folder": ("helpfolder.inner", "import helpfolder.inner\ndef f(): return {use}"),
    "alias": ("m", "import helping as m\ndef f(): return {use}"),
    "import inside": ("helping", "def f():\n import helping\n return {use}"),
    "import of a submodule inside": (
        "helpings.inner",
        "def f():\n import helpings.inner\n return {use}",
    ),
    "import from a package inside": (
        "m",
        "def f():\n from helpings import inner as m\n return {use}",
    ),
    "import from a folder inside": (
        "m",
        "def f():\n from helpfolder import inner as m\n return {use}",
    ),
    "import by name": (
        "m",
        "import importlib\ndef f():\n m = importlib.import_module('helping')\n return {use}",
    ),
    "default": ("m", "import helping\ndef f(m=helping): return {use}"),
    "container": ("M[0]", "import helping\nM = [helping]\ndef f(): return {use}"),
    "handed on": ("m", "import helping\ndef g(m): return {use}\ndef f(): return g(helping)"),
    "import inside and handed on": (
        "m",
        "def g(m): return {use}\ndef f():\n import helping\n return g(helping)",
    ),
    "attribute of a class": ("A.m", "import helping\nclass A: m = helping\ndef f(): return {use}"),
    "closure": ("m", "import helping\ndef make(m): return lambda: {use}\nf = make(helping)"),
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Give a function that writes modules anew and forgets those that were imported."""

    def write(source: str, **others: str) -> None:
        files = {
            "helping": source,
            "helpings/__init__": "",
            "helpings/inner": source,
            "helpfolder/inner": source,
        }
        for name, text in (files | others).items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        forget()

    def forget() -> None:
        importlib.invalidate_caches()
        for name in [
            name
            for name in sys.modules
            if name.partition(".")[0] in {"helping", "helpings", "helpfolder"}
        ]:
            del sys.modules[name]

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    forget()


def used(way: str, use: str) -> str:
    """Return the source of a function that uses a module in this way."""
    name, source = WAYS[way]
    return source.format(use=use.format(m=name))


@pytest.mark.parametrize("way", WAYS)
def test_an_edited_module_changes_the_key_however_it_is_reached(modules, way):
    modules("def g(): return 1")
    before = key_of(used(way, "{m}.g()"))
    assert key_of(used(way, "{m}.g()")) == before
    modules("\n\ndef g():\n    # as before\n    return 1")
    assert key_of(used(way, "{m}.g()")) == before
    modules("def g(): return 2")
    assert key_of(used(way, "{m}.g()")) != before


@pytest.mark.parametrize(("one", "other", "use"), EDITS.values(), ids=EDITS)
def test_whatever_is_edited_in_a_module_changes_the_key(modules, one, other, use):
    modules(one)
    before = key_of(used("module.attribute", use))
    modules(other)
    assert key_of(used("module.attribute", use)) != before


def test_a_function_that_is_imported_edited_and_reloaded_has_another_key(modules):
    modules("def g(x): return x + 1")
    module = importlib.import_module("helping")
    before = key(module.g)
    modules("def g(x): return x + 2")
    sys.modules["helping"] = module
    assert key(importlib.reload(module).g) != before


def test_what_a_unit_does_not_use_of_a_module_does_not_count(modules):
    modules("K = 1\ndef g(): return 1")
    before = key_of(used("module.attribute", "{m}.g()"))
    modules("K = 2\ndef h(): return K\ndef g(): return 1")
    assert key_of(used("module.attribute", "{m}.g()")) == before


def test_relative_imports_inside_a_function_are_followed(modules):
    reaches = {
        "helpings/a": "def f():\n from . import inner\n from .inner import g\n"
        " return g() + inner.g()"
    }
    deeper = {
        "helpings/deep/__init__": "",
        "helpings/deep/b": "def f():\n from ..inner import g\n return g()",
    }
    keys = []
    for k in (1, 2):
        modules(f"def g(): return {k}", **reaches, **deeper)
        keys.append([key_of("from helpings.a import f"), key_of("from helpings.deep.b import f")])
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] != keys[1][1]


@pytest.mark.parametrize("text", ["K = {}\ndef g(): return K", "def g(): return {}"])
def test_equal_names_in_two_modules_are_told_apart(modules, text):
    source = "from helping import g\nfrom helpings.inner import g as h\ndef f(): return g() - h()"
    modules(text.format(1), **{"helpings/inner": text.format(2)})
    before = key_of(source)
    modules(text.format(2), **{"helpings/inner": text.format(1)})
    assert key_of(source) != before


def test_libraries_count_by_name_and_version(monkeypatch):
    from daskresearch.content.libraries import _version_of, library_content

    def clear() -> None:
        _version_of.cache_clear()
        library_content.cache_clear()

    source = (
        "import sklearn_of_old as library\n"
        "def f(x):\n import colorsys, sklearn_of_old\n return library.g(x)"
    )
    monkeypatch.setitem(sys.modules, "sklearn_of_old", ModuleType("sklearn_of_old"))
    monkeypatch.setattr(sys.modules["sklearn_of_old"], "__file__", os.__file__, raising=False)
    keys = []
    for version in ("1.0", "1.0", "1.1"):
        monkeypatch.setattr(sys.modules["sklearn_of_old"], "__version__", version, raising=False)
        clear()
        keys.append(key_of(source))
    clear()
    assert keys[0] == keys[1] != keys[2]


def test_a_library_imported_inside_a_function_counts_whether_it_is_loaded_or_not(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = key_of("def f(x):\n import colorsys\n return colorsys.rgb_to_hsv(*x)")
    importlib.import_module("colorsys")
    assert key_of("def f(x):\n import colorsys\n return colorsys.rgb_to_hsv(*x)") == before
