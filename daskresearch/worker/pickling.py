"""How user code travels to worker processes: as bytes, by value.

Code of the user's own modules is pickled by value, as it is in this process. By name, a warm worker
would import it once and never see an edit. Installed packages go by name.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import uuid
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any, ClassVar, final

import cloudpickle

from daskresearch.content.modules import is_users_path
from daskresearch.errors import PickleError
from daskresearch.plan import Plan, Unit


def pickle_plan(plan_and_context: tuple[Plan, Any]) -> bytes:
    """Return the pickled plan and context.

    Raises
    ------
    PickleError
        If a unit cannot be pickled; names it and the argument at fault.
    """
    try:
        return dumps(plan_and_context)
    except Exception as error:
        for unit in plan_and_context[0].units:
            _check_unit(unit)
        raise PickleError(
            f"the plan cannot be pickled for worker processes: {error}; use workers=1"
        ) from error


def pickle_unit(unit: Unit) -> bytes:
    """Return a pickled unit.

    Raises
    ------
    PickleError
        If it cannot be pickled; names it and the argument at fault.
    """
    try:
        return dumps(unit)
    except Exception:
        _check_unit(unit)
        raise


def dumps(value: Any) -> bytes:
    """Pickle a value with the user's modules by value, or by name if that fails."""
    with _by_value(), suppress(Exception):
        return _dumps(value)
    return _dumps(value)


def _dumps(value: Any) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()


def _reduced(code: CodeType) -> tuple[Any, ...]:
    function, arguments, *rest = _of_cloudpickle[CodeType](code)
    # with the file that it left out, tracebacks of workers show the lines of the user
    named = [
        code.co_filename if isinstance(value, str) and value == "<dynamic-code>" else value
        for value in arguments
    ]
    return function, tuple(named), *rest


_of_cloudpickle: Any = cloudpickle.Pickler.dispatch_table


@final
class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap({CodeType: _reduced}, _of_cloudpickle)


def can_travel(value: Any) -> bool:
    """Return whether a value can be pickled."""
    try:
        # large buffers are left aside, so that they are not copied
        cloudpickle.dumps(value, protocol=5, buffer_callback=lambda buffer: False)
    except Exception:
        return False
    return True


def process_token() -> str:
    """Return a text that no other process has."""
    return f"{_TOKEN}-{os.getpid()}"


@final
class Carried:
    """A user's value on its way: itself within its process, pickled bytes elsewhere.

    A scheduler that unpickles it needs none of the user's modules. A worker unpickles the bytes
    when it asks for the value. Nothing is pickled as long as the value stays in its process.

    Parameters
    ----------
    value : object
    pickle : callable
        Turns the value into bytes, or raises `PickleError`.

    Attributes
    ----------
    has_arrived : bool
        Whether it came from another process.
    made : object
        What a process has made of the value and keeps with it.

    Examples
    --------
    >>> import pickle
    >>> travelled = pickle.loads(pickle.dumps(Carried([1, 2])))
    >>> travelled.get()
    [1, 2]
    """

    __slots__ = ("_content", "_has_value", "_pickle", "_value", "has_arrived", "made")

    def __init__(self, value: Any, pickle: Callable[[Any], bytes] | None = None) -> None:
        self._value, self._has_value = value, True
        self._content: bytes | None = None
        self._pickle = dumps if pickle is None else pickle
        self.has_arrived = False
        self.made: Any = None

    @classmethod
    def of_bytes(cls, content: bytes) -> Carried:
        """Return a value that has arrived and is still bytes."""
        arrived = cls(None)
        arrived._content, arrived._has_value, arrived.has_arrived = _opened(content), False, True
        return arrived

    def get(self) -> Any:
        """Return the value, which is unpickled when it is first asked for."""
        if not self._has_value:
            assert self._content is not None
            self._value, self._has_value = cloudpickle.loads(self._content), True
        return self._value

    @property
    def content(self) -> bytes:
        """The pickled value."""
        if self._content is None:
            self._content = self._pickle(self._value)
        return self._content

    def __reduce__(self) -> tuple[Any, ...]:
        return Carried.of_bytes, (_sealed(self.content),)


def _sealed(content: bytes) -> bytes:
    """Return pickled bytes that hide the name of the main module from distributed.

    Where it sees that name, it takes the whole message for one that needs cloudpickle, and pickles
    it a second time.
    """
    return _SEAL + zlib.compress(content, 1) if b"__main__" in content else content


def _opened(content: bytes) -> bytes:
    return zlib.decompress(content[len(_SEAL) :]) if content.startswith(_SEAL) else content


def _check_unit(unit: Unit) -> None:
    arguments: dict[str, Any] = {f"argument {name!r}": value for name, value in unit.kwargs.items()}
    if isinstance(unit.args, (list, tuple)):
        arguments |= {f"argument {i}": value for i, value in enumerate(unit.args)}
    for what, value in [
        ("its function", unit.function),
        *arguments.items(),
        ("kwargs", unit.spread),
    ]:
        try:
            dumps(value)
        except Exception as error:
            raise PickleError(
                f"unit {unit.name!r} cannot travel to worker processes: {what} cannot be pickled "
                f"({error}); make it inside the unit, or run with workers=1"
            ) from error


def check_values(name: str, values: Sequence[Any]) -> None:
    """Refuse values of a parameter that cannot travel.

    Raises
    ------
    PickleError
        Names the parameter and the first value at fault.
    """
    if isinstance(values, range) or all(type(value) in _PLAIN for value in values):
        return
    for value in values:
        try:
            dumps(value)
        except Exception as error:
            raise PickleError(
                f"value {value!r} of parameter {name!r} cannot be pickled for worker processes "
                f"({error}); make it inside a unit, or run with workers=1"
            ) from error


@contextmanager
def _by_value() -> Iterator[None]:
    with _registry:
        before = cloudpickle.list_registry_pickle_by_value()
        registered = [
            module for module in _users_modules(len(sys.modules)) if module.__name__ not in before
        ]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)


@lru_cache(maxsize=1)
def _users_modules(n_modules: int) -> tuple[ModuleType, ...]:
    """Return the user's modules, cached by the number of imported modules."""
    # a module may be there under several names, as the main module of a child process is
    return tuple(
        {
            module.__name__: module for module in list(sys.modules.values()) if _is_users(module)
        }.values()
    )


def _is_users(module: ModuleType | None) -> bool:
    path = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "__main__")
    if (
        not isinstance(path, str)
        or not path.endswith(".py")
        or name == "__main__"
        or name not in sys.modules
    ):
        return False
    return is_users_path(name, path)


_SEAL = b"zlib"  # no pickle begins like this
_TOKEN = uuid.uuid4().hex
_PLAIN = (bool, int, float, str, bytes, type(None))
_registry = threading.Lock()  # cloudpickle keeps its registry for the whole process
