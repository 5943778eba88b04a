"""The notebook repr of a research: its plan as a picture, and the calls it saves."""

from __future__ import annotations

from daskresearch.domain import Domain
from daskresearch.domain.display import domain_body, parameter_texts, size_text
from daskresearch.draw.cards import experiments_text
from daskresearch.draw.plan import draw_plan
from daskresearch.graph.preview import Counts
from daskresearch.markup import counted, number, page, section, table
from daskresearch.plan import Plan
from daskresearch.plan.display import units_table


def research_html(name: str, domain: Domain, plan: Plan, counts: Counts, ran: str = "") -> str:
    """Return the HTML that a notebook shows of a research.

    Parameters
    ----------
    name : str
    domain : Domain
    plan : Plan
    counts : Counts
    ran : str
        What its last run has come to, if it has run.

    Examples
    --------
    >>> from daskresearch import EC, Option, Research
    >>> domain = Option("x", [1, 2])
    >>> plan = Research().pow(EC("x"), 2, save_to="square").plan
    >>> counts = Counts(2, 0, 2, 1, {"pow": 2}, {"pow": 2})
    >>> "<svg" in research_html("squares", domain, plan, counts)
    True
    """
    facts = [
        experiments_text(counts.n_experiments),
        counted(counts.n_nodes, "node"),
        *_saved(counts),
        *([ran] if ran else []),
    ]
    svg = draw_plan(plan, counts, parameter_texts(domain.node))
    body = (
        f'<div style="overflow-x: auto">{svg}</div>'
        + section("Domain", domain_body(domain.node), size_text(domain.size))
        + section("Plan", units_table(plan.units), counted(len(plan.units), "unit"))
        + section("Calls", _calls_table(counts), ", ".join(_saved(counts)))
    )
    return page("Research", name, facts, body)


def _saved(counts: Counts) -> list[str]:
    """Return how many calls are saved, of units whose calls are known; empty if none."""
    both = [
        (plain, calls)
        for plain, calls in zip(counts.calls_plain.values(), counts.calls.values(), strict=True)
        if plain is not None and calls is not None
    ]
    n_plain = sum([plain for plain, _ in both])
    n_saved = n_plain - sum([calls for _, calls in both])
    if n_saved <= 0:
        return []
    least = "at least " if len(both) < len(counts.calls) else ""
    return [f"{least}{number(n_saved)} of {number(n_plain)} calls saved"]


def _calls_table(counts: Counts) -> str:
    rows = []
    for name, calls in counts.calls.items():
        plain = counts.calls_plain.get(name)
        rows.append((name, number(plain), number(calls), _share(plain, calls)))
    return table(["unit", "plain calls", "calls", "saved"], rows, {"plain calls", "calls", "saved"})


def _share(plain: int | None, calls: int | None) -> str:
    if plain is None or calls is None:
        return "?"
    saved = 1 - calls / plain if plain else 0.0
    return "" if saved <= 0 else f"{min(saved, 0.9999):.2%}" if saved > 0.99 else f"{saved:.0%}"
