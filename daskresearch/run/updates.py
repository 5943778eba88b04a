"""How a domain is updated between experiments: when, and by which function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from daskresearch.domain import Domain
from daskresearch.errors import DomainError
from daskresearch.plan import evaluator
from daskresearch.results import ResearchResults
from daskresearch.run.job import DomainUpdate


def first_due(update: DomainUpdate | None, turns: range) -> int | None:
    """Return the first of some experiments after which the domain is to be updated.

    Parameters
    ----------
    update : DomainUpdate, optional
    turns : range
        The numbers of experiments in the order of their turns.
    """
    if update is None:
        return None
    due = update.schedule.next_turn(turns.start)
    return due if due is not None and due in turns else None


def updated_domain(update: DomainUpdate, results: ResearchResults) -> Domain | None:
    """Return the domain that takes the place of what is left, if there is one.

    Parameters
    ----------
    update : DomainUpdate
    results : ResearchResults
        What ``R()`` stands for.

    Raises
    ------
    DomainError
        If the function returns anything else.
    """
    scope: Any = _Scope(results)
    new = update.function(**evaluator(dict(update.kwargs), "update_domain")(scope))
    if new is None:
        return None
    if not isinstance(new, (Domain, Mapping)):
        raise DomainError(
            f"update_domain must return a Domain, a dict of values or None, not {new!r}"
        )
    return Domain(new)


@final
class _Scope:
    """The scope of expressions between experiments: they see the results alone."""

    def __init__(self, results: ResearchResults) -> None:
        self._results = results

    def results(self) -> ResearchResults:
        """Return what ``R()`` stands for."""
        return self._results
