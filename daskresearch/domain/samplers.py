"""Where sampled parameters come from: scipy, numpy, and anything that samples.

A *sampler* here is a function from a numpy Generator to an endless iterator of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from daskresearch.errors import DomainError, near_miss

if TYPE_CHECKING:
    from numpy.random import Generator

# BatchFlow's short names for methods of numpy's Generator
_SHORT = {
    "n": "normal",
    "u": "uniform",
    "mvn": "multivariate_normal",
    "e": "exponential",
    "g": "gamma",
    "be": "beta",
    "mnm": "multinomial",
    "f": "f",
    "p": "poisson",
    "w": "weibull",
    "ln": "lognormal",
    "b": "binomial",
    "chi2": "chisquare",
    "c": "choice",
}
_CONTINUOUS = frozenset(
    """
    beta chisquare exponential f gamma gumbel laplace logistic lognormal
    noncentral_chisquare noncentral_f normal pareto power random rayleigh standard_cauchy
    standard_exponential standard_gamma standard_normal standard_t
    triangular uniform vonmises wald weibull
    """.split()  # noqa: SIM905
)
_BLOCK = 64


@runtime_checkable
class SupportsSample(Protocol):
    """Anything that can be asked for `size` values."""

    def sample(self, size: int) -> Any:
        """Return `size` values."""


@final
@dataclass(frozen=True, slots=True, init=False, eq=False)
class NumpySampler:
    """Values drawn by a method of `numpy.random.Generator`.

    Parameters
    ----------
    name : str
        The method, such as ``'normal'``, or its short name in BatchFlow, such as ``'n'`` or
        ``'u'``.
    seed : int, optional
        Gives this sampler a stream of its own, the same in every run. Default: the stream of the
        run.
    **params
        Arguments of the method, such as ``loc`` and ``scale``.

    Raises
    ------
    DomainError
        If numpy's Generator has no such method, or it cannot draw with these arguments.

    Examples
    --------
    >>> NumpySampler("n", loc=5, scale=0).sample(3)
    array([5., 5., 5.])
    """

    name: str
    seed: int | None
    params: dict[str, Any] = field(default_factory=dict)

    def __init__(self, name: str, seed: int | None = None, **params: Any) -> None:
        from numpy.random import Generator

        method = _SHORT.get(name, name)
        if method.startswith("_") or not callable(getattr(Generator, method, None)):
            methods = [word for word in dir(Generator) if not word.startswith("_")]
            raise DomainError(
                f"numpy's Generator has no method {name!r} (short names: "
                f"{', '.join(sorted(_SHORT))})"
                f"{near_miss(name, methods)}"
            )
        object.__setattr__(self, "name", method)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "params", params)
        try:
            self.sample(1)
        except (TypeError, ValueError) as error:
            raise DomainError(f"numpy cannot draw by {method!r} with {params}: {error}") from error

    def sample(self, size: int, rng: Generator | None = None) -> Any:
        """Return an ndarray of `size` draws.

        They come from `rng`, by default from the sampler's seed, else from fresh entropy.
        """
        from numpy.random import default_rng

        rng = default_rng(self.seed) if rng is None else rng
        return getattr(rng, self.name)(size=size, **self.params)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """How to draw the values of one sampled parameter.

    Attributes
    ----------
    draw : callable
        Takes a numpy Generator, returns an endless iterator of values.
    is_continuous : bool
        Whether draws are all different, or repeat themselves at once.
    is_seeded : bool
        Whether the draws follow the Generator, so that they can be had again.
    text : str
    """

    draw: Callable[[Generator], Iterator[Any]]
    is_continuous: bool
    is_seeded: bool
    text: str

    @classmethod
    def of(cls, values: Any) -> Source | None:
        """Return how to draw from `values`, or None if they are no sampler."""
        if isinstance(values, NumpySampler):
            return cls(partial(_draw_numpy, values), values.name in _CONTINUOUS, True, repr(values))
        is_frozen = hasattr(values, "dist") or hasattr(
            values, "_dist"
        )  # the latter of multivariate ones
        if hasattr(values, "rvs") and is_frozen:
            name = getattr(getattr(values, "dist", values), "name", type(values).__name__)
            return cls(
                partial(_draw_scipy, values), hasattr(values, "pdf"), True, f"scipy.stats.{name}"
            )
        if isinstance(values, SupportsSample) and not isinstance(values, (type, ModuleType)):
            takes_rng = "rng" in signature(values.sample).parameters
            return cls(
                partial(_draw_one, values, takes_rng), False, takes_rng, type(values).__name__
            )
        return None


def _draw_numpy(sampler: NumpySampler, rng: Generator) -> Iterator[Any]:
    from numpy.random import default_rng

    rng = rng if sampler.seed is None else default_rng(sampler.seed)
    while True:
        yield from _scalars(sampler.sample(_BLOCK, rng))


def _draw_scipy(distribution: Any, rng: Generator) -> Iterator[Any]:
    while True:
        yield from _scalars(distribution.rvs(size=_BLOCK, random_state=rng))


def _draw_one(sampler: Any, takes_rng: bool, rng: Generator) -> Iterator[Any]:
    while True:
        (value,) = _scalars(sampler.sample(1, rng=rng) if takes_rng else sampler.sample(1))
        yield value


def _scalars(values: Any) -> list[Any]:
    """Return the draws, numbers as Python's, also from BatchFlow's column of draws."""
    import numpy as np

    if isinstance(values, list):
        return values
    array = np.asarray(values)
    if array.ndim == 0:
        return [array.item()]
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    scalars: list[Any] = array.tolist() if array.ndim == 1 else list(array)
    return scalars
