"""Why a result is what it is: the parts of its keys, and where two keys differ."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from daskresearch.content.parts import KeyPart
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import OptionError, near_miss
from daskresearch.store import Store, UnitKey

if TYPE_CHECKING:
    import pandas as pd

Explainer = Callable[[PlannedExperiment], list[UnitKey]]


class Explained(ABC):
    """Results that tell why they are what they are."""

    _store: Store
    _explainer: Explainer | None

    def explain(
        self, experiment_id: str, against: Any = None, against_id: str | None = None
    ) -> pd.DataFrame:
        """Return the parts of the key of each unit of an experiment, or where two differ.

        A unit whose key is the same in two experiments, or in two runs, computes the same in both.

        Parameters
        ----------
        experiment_id : str
        against : str, ResearchResults or Research, optional
            Another experiment of these results, or the results of another run.
        against_id : str, optional
            The experiment of the other run. Default: the one with the same config.

        Returns
        -------
        pandas.DataFrame
            One row a part: unit, its key, the kind of the part (code, argument, config, upstream,
            ...), name and value. With `against` the parts that differ: unit, kind, name, value here
            and value there, NaN where there is none.

        Raises
        ------
        OptionError
            If there is no such experiment.

        Examples
        --------
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [1, 2])).pow(EC("x"), 2, save_to="square")
        >>> results = research.run(bar=False, dump_results=False).results
        >>> first, second = results.df.id
        >>> results.explain(first, against=second)
          unit    part name value there
        0  pow  config    x     1     2
        """
        keys = self._keys_of(experiment_id)
        if against is None and against_id is None:
            return explanation(keys)
        if isinstance(against, str):
            return difference(keys, self._keys_of(against))
        others = self if against is None else getattr(against, "results", against)
        if not isinstance(others, Explained):
            raise OptionError(
                "against must be an experiment's id, or the results of another run, not "
                f"{against!r}"
            )
        return difference(keys, others._keys_of(against_id or others._counterpart(experiment_id)))

    def _keys_of(self, experiment_id: str) -> list[UnitKey]:
        snapshot = self._store.snapshot()
        ids = list(snapshot.ids)
        if experiment_id not in ids:
            raise OptionError(
                f"there is no experiment {experiment_id!r} among the {len(ids)} that have ended"
                f"{near_miss(str(experiment_id), ids)}"
            )
        if self._explainer is None:
            raise OptionError(
                "results that were read from a folder have no plan to explain, "
                "nor have unpickled ones; ask those of the run"
            )
        return self._explainer(snapshot.experiment(ids.index(experiment_id)))

    def _counterpart(self, experiment_id: str) -> str:
        """Return the id of the experiment that has the same config as one of another run."""
        same = [other for other in self._store.snapshot().ids if other[:-8] == experiment_id[:-8]]
        if not same:
            raise OptionError(
                f"the other run has no experiment with the config of {experiment_id!r}; give "
                "against_id"
            )
        return same[0]


def explanation(keys: Sequence[UnitKey]) -> pd.DataFrame:
    """Return one row for each part of each unit's key.

    Examples
    --------
    >>> explanation([UnitKey("load", "load-1f", (KeyPart("argument", "path", "'a'", b"1"),))])
       unit      key      part  name value
    0  load  load-1f  argument  path   'a'
    """
    import pandas as pd

    rows = [
        (key.unit, key.key, part.kind, part.name, part.text)
        for key in keys
        for part in key.parts or (KeyPart("none", "", "", b""),)
    ]
    return pd.DataFrame(rows, columns=["unit", "key", "part", "name", "value"])


def difference(keys: Sequence[UnitKey], others: Sequence[UnitKey]) -> pd.DataFrame:
    """Return the parts in which the keys of two experiments differ, by unit.

    A part that has the same text in both, such as a function that stands at the same line, differs
    by its content.
    """
    import pandas as pd

    here, there = _parts(keys), _parts(others)
    rows = []
    units = list(dict.fromkeys([key.unit for key in (*keys, *others)]))
    for place in sorted(dict.fromkeys([*here, *there]), key=lambda place: units.index(place[0])):
        ours, theirs = here.get(place), there.get(place)
        if ours is None or theirs is None or ours.digest != theirs.digest:
            rows.append((*place[:3], ours and ours.text, theirs and theirs.text))
    return pd.DataFrame(rows, columns=["unit", "part", "name", "value", "there"])


def _parts(keys: Sequence[UnitKey]) -> dict[tuple[str, str, str, int], KeyPart]:
    """Return the parts by unit, kind, name and number."""
    parts: dict[tuple[str, str, str, int], KeyPart] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for key in keys:
        for part in key.parts:
            place = (key.unit, part.kind, part.name)
            counts[place] = counts.get(place, 0) + 1
            parts[(*place, counts[place])] = part
    return parts
