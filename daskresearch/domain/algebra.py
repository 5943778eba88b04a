"""The public face of domains: `Domain` and `Option`, and their algebra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, final

from daskresearch.domain.config import Config, Entry
from daskresearch.domain.display import domain_html
from daskresearch.domain.iteration import IterParams, iterate
from daskresearch.domain.nodes import Empty, Node, option
from daskresearch.domain.operators import add, multiply, pair, weigh
from daskresearch.domain.streams import draw_seed
from daskresearch.errors import DomainError, DomainTypeError


@final
class Domain:
    """The configs that a research runs through.

    A domain never changes: operators and `set_iter_params` return new ones, which drop the
    iteration parameters of their operands. A product of a million configs costs nothing until it is
    iterated.

    Parameters
    ----------
    domain : Mapping or Domain, optional
        Values by parameter name, which may be any text. Default: one empty config.
    **options
        The same for names that are identifiers. Values are a list, tuple, range or 1-d array of
        anything (wrap a value in `Alias` to name it), or a sampler: a frozen scipy.stats
        distribution, `NumpySampler`, or an object with ``sample(size)``.

    Raises
    ------
    DomainError
        If a parameter has no values or stands twice.
    DomainTypeError
        If values are neither a sequence nor a sampler.

    Notes
    -----
    ``a * b`` is all pairs, the right one fastest; ``a + b`` runs `a`, then `b`; ``a @ b`` pairs
    configs of equal number; ``2 * a + 1 * b`` picks from weighted neighbours at random until each
    is exhausted. A sampler times an array is drawn once for each combination of arrays; samplers
    alone are endless.

    Examples
    --------
    >>> domain = Domain(model=["svm"]) * Domain(C=[1, 10]) + Domain(model=["tree"])
    >>> [config.values() for config in domain]
    [{'model': 'svm', 'C': 1}, {'model': 'svm', 'C': 10}, {'model': 'tree'}]
    >>> (Domain(a=range(10**6)) * Domain(b=range(10**6))).size
    1000000000000
    """

    __slots__ = ("_node", "_params")

    def __init__(self, domain: Mapping[str, Any] | Domain | None = None, /, **options: Any) -> None:
        self._node: Node
        self._params = IterParams()
        if isinstance(domain, Domain):
            self._node, self._params = domain._node, domain._params
        elif isinstance(domain, Mapping):
            self._node = _product_of(domain)
        elif domain is None:
            self._node = Empty()
        else:
            raise DomainTypeError(
                f"a domain is made of a mapping or another domain, not {domain!r}"
            )
        if options:
            self._node = multiply(self._node, _product_of(options))

    @classmethod
    def _of(cls, node: Node, params: IterParams | None = None) -> Domain:
        domain = cls()
        domain._node, domain._params = node, params or IterParams()
        return domain

    def __mul__(self, other: Any) -> Domain:
        if isinstance(other, Domain):
            return Domain._of(multiply(self._node, other._node))
        if not isinstance(other, bool) and isinstance(other, Real):
            return Domain._of(weigh(float(other), self._node))
        return NotImplemented

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Domain:
        return (
            Domain._of(add(self._node, other._node))
            if isinstance(other, Domain)
            else NotImplemented
        )

    def __radd__(self, other: Any) -> Domain:
        return self if other == 0 else NotImplemented  # what sum() begins with

    def __matmul__(self, other: Any) -> Domain:
        return (
            Domain._of(pair(self._node, other._node))
            if isinstance(other, Domain)
            else NotImplemented
        )

    def set_iter_params(
        self,
        n_items: int | None = None,
        n_reps: int = 1,
        repeat_each: int | None = None,
        additional: bool = True,
        seed: int | None = None,
        create_id_prefix: bool = False,
    ) -> Domain:
        """Return this domain with another way of iterating it; the original is unchanged.

        Parameters
        ----------
        n_items : int, optional
            How many configs before repetitions; above the size the domain starts over. Default:
            all.
        n_reps : int
            How often each block of configs is run.
        repeat_each : int, optional
            Configs in a block. Default: all `n_items`, or 100 when endless; the last block may be
            shorter.
        additional : bool
            Whether `repetition` and `updates` are shown in ``config()`` and ``alias()``.
        seed : int, optional
            What samples and mixtures are drawn from. Default: fresh entropy in each iteration, or
            the run's seed.
        create_id_prefix : bool
            Whether ids start with sortable indices of the values.

        Raises
        ------
        DomainError
            If a number is not a positive integer.

        Examples
        --------
        >>> domain = Domain(a=[1, 2]).set_iter_params(n_reps=2)
        >>> [tuple(config.config().values()) for config in domain]
        [(1, 0, 0), (2, 0, 0), (1, 1, 0), (2, 1, 0)]
        """
        return Domain._of(
            self._node, IterParams(n_items, n_reps, repeat_each, additional, seed, create_id_prefix)
        )

    @property
    def node(self) -> Node:
        """The description that is iterated."""
        return self._node

    @property
    def iter_params(self) -> IterParams:
        """How it is iterated."""
        return self._params

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that a config may have, in order of appearance."""
        return self._node.names

    @property
    def size(self) -> int | None:
        """The number of configs with their repetitions; None when endless."""
        return self._params.size(self._node)

    def __len__(self) -> int:
        size = self.size
        if size is None:
            raise TypeError(
                f"the domain {self!r} is endless and has no length; use `size`, which is None then"
            )
        return size

    def __bool__(self) -> bool:
        return True

    @property
    def iterator(self) -> Iterator[Config]:
        """A new iterator over the configs."""
        return iter(self)

    def __iter__(self) -> Iterator[Config]:
        seed = draw_seed() if self._params.seed is None else self._params.seed
        return iterate(self._node, self._params, seed)

    def __repr__(self) -> str:
        return f"<Domain: {self._node!r}>"

    def _repr_html_(self) -> str:
        return domain_html(self._node, self.size)


def Option(name: str, values: Any) -> Domain:  # noqa: N802  (the name that BatchFlow's users know)
    """Return the domain of one parameter.

    Parameters
    ----------
    name : str
        Any text.
    values : list, tuple, range, 1-d array or sampler

    Examples
    --------
    >>> domain = Option("head/layout", ["f", "faf"]) @ Option("units", [10, 20])
    >>> [config.values() for config in domain]
    [{'head/layout': 'f', 'units': 10}, {'head/layout': 'faf', 'units': 20}]
    """
    return Domain._of(option(name, values))


def branch_entries(
    branches: Sequence[Mapping[str, Any] | Config], names: Sequence[str]
) -> list[tuple[Any, ...]]:
    """Return the entries that branch configs append to the members of a group.

    Raises
    ------
    DomainError
        If a branch is no mapping, or names a parameter of the domain.
    """
    appended = []
    for branch in branches:
        values = branch.values() if isinstance(branch, Config) else branch
        if not isinstance(values, Mapping):
            raise DomainError(f"a list of branches holds configs as dicts, not {branch!r}")
        common = sorted(set(values) & set(names))
        if common:
            raise DomainError(
                f"branches set parameters {common}, which the domain has already; rename them"
            )
        appended.append(tuple([Entry.of(name, value) for name, value in values.items()]))
    return appended


def _product_of(options: Mapping[str, Any]) -> Node:
    node: Node = Empty()
    for name, values in options.items():
        node = multiply(node, option(name, values))
    return node
