"""What is the user's own, and what stands for a library's functions and classes."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from daskresearch.content.modules import is_users_module, is_users_path

_HEAP_TYPE = 1 << 9
_KNOWN = 4_096


def is_users(module: str | None) -> bool:
    """Return whether a module is the user's own.

    Namespace packages and modules made by hand can be, too.

    Examples
    --------
    >>> is_users("__main__"), is_users("json"), is_users("sys"), is_users(None)
    (True, False, False, True)
    """
    if module is None or is_users_module(module):
        return True
    loaded = sys.modules[module]
    if getattr(loaded, "__file__", None) is not None:
        return False
    folders = [*getattr(loaded, "__path__", ())]
    return getattr(loaded, "__spec__", None) is None or any(
        [is_users_path(module, folder) for folder in folders]
    )


def is_users_scope(scope: Mapping[str, Any]) -> bool:
    """Return whether globals are of a module of the user's, or of text that was run."""
    name = scope.get("__name__")
    return is_users(name) or vars(sys.modules[str(name)]) is not scope


def is_users_code(value: Any) -> bool:
    """Return whether a function or class counts by its content.

    Those of the user do, and those that a library made while running.

    Examples
    --------
    >>> import json
    >>> mine = type("Mine", (), {"__module__": "__main__"})
    >>> is_users_code(json.dumps), is_users_code(dict), is_users_code(mine)
    (False, False, True)
    """
    module = value.__module__
    if isinstance(value, types.FunctionType):
        if is_users_scope(value.__globals__):
            return True
    elif not value.__flags__ & _HEAP_TYPE:
        return False
    return not isinstance(module, str) or is_users(module) or not _is_found(value, module)


def _is_found(value: Any, module: str) -> bool:
    found: Any = sys.modules.get(module)
    for name in value.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
        found = getattr(found, "__func__", found)
    return found is value or getattr(found, "fget", None) is value


def home_of(value: Any, name: str | None) -> str | None:
    """Return the module of a library that has a value under a name, None if none has.

    If the name is None, any name will do.

    Examples
    --------
    >>> import os
    >>> home_of(os.getpid, "getpid"), home_of(object(), None)
    ('os.getpid', None)
    """
    homes = []
    for module, loaded in list(sys.modules.items()):
        members = getattr(loaded, "__dict__", {})
        names = (
            [name] if name else [key for key, member in list(members.items()) if member is value]
        )
        homes += [
            f"{module}.{key}" for key in names if members.get(key) is value and not is_users(module)
        ]
    # libraries that import it from its home may be loaded or not
    return min(
        homes,
        key=lambda home: (home.partition(".")[0] not in {"os", "numpy", "scipy"}, home),
        default=None,
    )


@functools.lru_cache(maxsize=_KNOWN)
def library_content(module: str, name: str) -> bytes:
    """Return what stands for a library's function or class: its name and version.

    Examples
    --------
    >>> library_content("json", "dumps")
    b'json.dumps Python ...'
    """
    return f"{module}.{name} {_version_of(module)}".encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=_KNOWN)
def _version_of(module: str) -> str:
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names or package in sys.builtin_module_names:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if is_users_package(package):
        return _digest_of_compiled(module)
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    for distribution in importlib.metadata.distributions():
        if f"{package}/__init__.py," in (distribution.read_text("RECORD") or ""):
            return distribution.version
    return str(getattr(sys.modules.get(package), "__version__", ""))


def _digest_of_compiled(module: str) -> str:
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    if not path.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_users_package(package: str) -> bool:
    """Return whether a top module that may not be imported yet is the user's."""
    if package in sys.modules:
        return is_users(package)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return False
    places = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
    return any([is_users_path(package, place) for place in places])
