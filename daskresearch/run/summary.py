"""What a folder tells of a research beside its results, as plain JSON."""

from __future__ import annotations

from typing import Any, NamedTuple

from daskresearch.domain import Domain
from daskresearch.graph import Counts
from daskresearch.plan import Expression, Unit, name_of
from daskresearch.run.preparation import Preparation

_MOST_TEXTS = 1000
_LONGEST = 200


class Facts(NamedTuple):
    """What a folder tells of a research beside its experiments.

    Attributes
    ----------
    description : dict
        The domain, plan and preview, as JSON.
    definition : dict of str to str
        By unit or option, a hash of what could change results; empty where it has none.
    plan : bytes, optional
        The pickled research, if it can be pickled.
    variables : tuple of str
    env : dict of str to dict
        What is told of the environment, by the name of a file.
    """

    description: dict[str, Any]
    definition: dict[str, str]
    plan: bytes | None
    variables: tuple[str, ...]
    env: dict[str, Any]


def facts_of(
    prepared: Preparation, counts: Counts, plan: bytes | None, env: dict[str, Any]
) -> Facts:
    """Return what a folder tells of a research beside its experiments.

    Parameters
    ----------
    prepared : Preparation
    counts : Counts
        The calls that the research will make.
    plan : bytes, optional
        The pickled research.
    env : dict
        What is told of the environment, by the name of a file.
    """
    job, options = prepared.job, prepared.options
    description = {
        "domain": _domain_facts(prepared),
        "plan": [_unit_facts(unit) for unit in job.plan.units],
        "parameters": list(prepared.parameters),
        "create_id_prefix": options.create_id_prefix,
        "options": {
            "n_iters": options.n_iters,
            "finalize": options.finalize,
            "branches": options.branches
            if isinstance(options.branches, int | None)
            else _texts(options.branches),
            "executor_target": options.executor_target,
        },
        "preview": _preview_facts(counts),
    }
    return Facts(description, prepared.definition, plan, job.plan.variables, env)


def _domain_facts(prepared: Preparation) -> dict[str, Any]:
    job = prepared.job
    return {
        "text": _short(repr(job.domain)),
        "size": job.size,
        "n_configs": job.n_configs,
        "n_reps": job.n_reps,
        "repeat_each": job.repeat_each,
        "values": _values(job.domain),
        "updates": job.update is not None,
    }


def _values(domain: Domain) -> dict[str, list[str]]:
    """Return the texts of the values of each parameter, up to a limit."""
    from daskresearch.domain import Alias, values_of

    texts: dict[str, list[str]] = {}
    for part in values_of(domain.node):
        room = _MOST_TEXTS - len(texts.get(part.name, []))
        texts.setdefault(part.name, []).extend(
            [_short(Alias(value).alias) for value in list(part.values[:room])]
        )
    return texts


def _unit_facts(unit: Unit) -> dict[str, Any]:
    args = (
        repr(unit.args)
        if isinstance(unit.args, Expression)
        else [_short(repr(value)) for value in unit.args]
    )
    when = [*unit.schedule.steps, *[f"#{i}" for i in sorted(unit.schedule.iterations)]]
    return {
        "name": unit.name,
        "kind": unit.kind.value,
        "function": None if unit.function is None else _function_text(unit.function),
        "args": args,
        "kwargs": {name: _short(repr(value)) for name, value in unit.kwargs.items()},
        "spread": None if unit.spread is None else _short(repr(unit.spread)),
        "when": [*when, *(["last"] if unit.schedule.last else [])],
        "save_to": list(unit.saves) if isinstance(unit.saves, tuple) else unit.saves,
        "save_output_dict": unit.saves_dict,
        "root": unit.is_root,
        "version": unit.version,
        "resources": dict(unit.resources),
    }


def _function_text(function: Any) -> str:
    return f"{getattr(function, '__module__', None) or ''}.{name_of(function)}".strip(".")


def _texts(configs: Any) -> list[dict[str, str]]:
    return [
        {str(name): _short(repr(value)) for name, value in config.items()} for config in configs
    ]


def _preview_facts(counts: Counts) -> dict[str, Any]:
    units = [[unit, plain, counts.calls[unit]] for unit, plain in counts.calls_plain.items()]
    return {"units": units, "n_experiments": counts.n_experiments, "n_nodes": counts.n_nodes}


def _short(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
