"""What is to be run: a plan, a domain, how often, and how the domain changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from daskresearch.domain import (
    Domain,
    IterParams,
)
from daskresearch.plan import Plan, Schedule


@final
@dataclass(frozen=True, slots=True)
class DomainUpdate:
    """How a domain changes while it runs; see `Research.update_domain`."""

    function: Any
    schedule: Schedule
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Job:
    """What is to run: a plan over a domain.

    Attributes
    ----------
    plan : Plan
    domain : Domain
    n_configs, n_reps, repeat_each
        As in `Research`.
    update : DomainUpdate, optional
    """

    plan: Plan
    domain: Domain
    n_configs: int | None = None
    n_reps: int = 1
    repeat_each: int | None = None
    update: DomainUpdate | None = None

    def iter_params(self, domain: Domain, *, create_id_prefix: bool = False) -> IterParams:
        """Return how a domain is iterated: as the research says, else as the domain says."""
        own = domain.iter_params
        return replace(
            own,
            n_items=own.n_items if self.n_configs is None else self.n_configs,
            n_reps=own.n_reps if self.n_reps == 1 else self.n_reps,
            repeat_each=own.repeat_each if self.repeat_each is None else self.repeat_each,
            create_id_prefix=own.create_id_prefix or create_id_prefix,
        )

    @property
    def size(self) -> int | None:
        """How many experiments the domain makes before it changes; None when endless."""
        return self.iter_params(self.domain).size(self.domain.node)
