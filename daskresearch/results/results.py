"""The results of a research, complete or so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain import Config, Domain
from daskresearch.errors import OptionError, near_miss
from daskresearch.results.display import first_failures, head_of, results_html
from daskresearch.results.explain import Explainer, difference, explanation
from daskresearch.results.select import as_names, experiment_test
from daskresearch.results.table import Layout, check_columns, configs, long, wide
from daskresearch.store import MISSING, Experiments, MemoryStore, Rows, UnitKey

if TYPE_CHECKING:
    import pandas as pd


@final
class ResearchResults:
    """What the experiments of a run have recorded, readable also while it goes on.

    Parameters
    ----------
    store : MemoryStore
    parameters : sequence of str
        The parameters of the domain, which are columns of every table.
    explainer : callable, optional
        Gives the keys of the units of an experiment from its id, config and the key of its group.

    Examples
    --------
    >>> from daskresearch import EC, Option, Research
    >>> research = Research(domain=Option("x", [1, 2])).pow(EC("x"), 2, save_to="square")
    >>> results = research.run(bar=False).results
    >>> results.to_df(x=2).square.item()
    4
    """

    def __init__(self, store: MemoryStore, parameters: Sequence[str] = (), explainer: Explainer | None = None) -> None:
        self._store = store
        self._parameters = tuple(parameters)
        self._explainer = explainer

    @property
    def df(self) -> pd.DataFrame:
        """The table of all rows: id, parameters, iteration and variables, in domain order; see `to_df`."""
        return self.to_df()

    def to_df(
        self,
        pivot: bool = True,
        include_config: bool = True,
        use_alias: bool = False,
        concat_config: bool = False,
        remove_auxilary: bool = True,
        drop_columns: bool = True,
        *,
        experiment_id: str | Iterable[str] | None = None,
        name: str | Iterable[str] | None = None,
        iterations: int | Iterable[int] | None = None,
        config: Mapping[str, Any] | Config | None = None,
        alias: Mapping[str, str] | None = None,
        domain: Domain | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """Return the rows that all filters let pass as a table.

        Parameters
        ----------
        pivot : bool
            Whether each variable is a column; else each recorded value is a row with ``name`` and ``value``.
        include_config : bool
            Whether the parameters are columns.
        use_alias : bool
            Whether parameters are shown by their texts.
        concat_config : bool
            Whether the texts of all parameters are joined in one column ``config``.
        remove_auxilary : bool
            Whether ``repetition`` and ``updates`` are left out.
        drop_columns : bool
            With `concat_config`: whether the single parameters are left out.
        experiment_id : str or iterable of str, optional
            Experiments by id.
        name : str or iterable of str, optional
            Variables; a row in which none of them was recorded is left out.
        iterations : int or iterable of int, optional
        config : Mapping, optional
            Values of parameters that a config must have, `repetition` and `updates` among them; a list means any
            of its members.
        alias : Mapping, optional
            The same by texts.
        domain : Domain, optional
            Configs that agree with one of this domain's.
        **params
            The same as `config`.

        Returns
        -------
        pandas.DataFrame
            Rows in the order of the domain, then by iteration. NaN where nothing was recorded.

        Raises
        ------
        OptionError
            If a filter names an unknown parameter or variable.

        Examples
        --------
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [1, 2])).pow(EC("x"), 2, save_to="square")
        >>> research.run(bar=False).results.to_df(pivot=False, concat_config=True, x=[2]).iloc[:, 1:]
          config  iteration    name  value
        0    x_2          0  square      4
        """
        experiments, rows = self._read()
        parameters = self._all_parameters(experiments)
        layout = Layout(parameters, include_config, use_alias, concat_config, remove_auxilary, drop_columns)
        check_columns(layout, rows.columns, pivot=pivot)
        test = experiment_test(parameters, experiment_id, config, alias, domain, params)
        chosen = _in_order(experiments, rows)
        if test is not None:
            passing = [test(*pair) for pair in zip(experiments.ids, experiments.configs, strict=True)]
            chosen = [row for row in chosen if passing[rows.experiments[row]]]
        if iterations is not None:
            wanted = set(iterations) if isinstance(iterations, Iterable) else {iterations}
            chosen = [row for row in chosen if rows.iterations[row] in wanted]
        if name is not None:
            columns = {one: rows.columns[one] for one in as_names(name, rows.columns)}
            rows = Rows(rows.experiments, rows.iterations, columns)
            chosen = [row for row in chosen if any([column[row] is not MISSING for column in columns.values()])]
        return (wide if pivot else long)(experiments, rows, chosen, layout)

    def configs_to_df(
        self,
        use_alias: bool = False,
        concat_config: bool = False,
        remove_auxilary: bool = True,
        drop_columns: bool = True,
    ) -> pd.DataFrame:
        """Return one row for each finished experiment, failed ones too, with its id and config.

        Parameters
        ----------
        use_alias, concat_config, remove_auxilary, drop_columns : bool
            As in `to_df`.

        Examples
        --------
        >>> from daskresearch import Option, Research
        >>> research = Research(domain=Option("x", [1, 2])).print("", end="").run(bar=False)
        >>> list(research.results.configs_to_df().x)
        [1, 2]
        """
        experiments = self._store.experiments()
        layout = Layout(
            self._all_parameters(experiments), True, use_alias, concat_config, remove_auxilary, drop_columns
        )
        order = sorted(range(len(experiments.ids)), key=experiments.positions.__getitem__)
        return configs(experiments, order, layout)

    @property
    def failures(self) -> pd.DataFrame:
        """What went wrong: id, unit, iteration, exception and traceback, in domain order."""
        import pandas as pd

        failures = self._store.failures()
        experiments = self._store.experiments()
        failures.sort(key=lambda pair: experiments.positions[pair[0]])
        return pd.DataFrame(
            {
                "id": pd.Series([experiments.ids[index] for index, _ in failures], dtype=str),
                "unit": pd.Series([failure.unit for _, failure in failures], dtype=str),
                "iteration": pd.Series([failure.iteration for _, failure in failures], dtype="int64"),
                "exception": pd.Series([failure.exception for _, failure in failures], dtype=object),
                "traceback": pd.Series([failure.traceback for _, failure in failures], dtype=str),
            }
        )

    def explain(self, experiment_id: str, against: Any = None, against_id: str | None = None) -> pd.DataFrame:
        """Return what the key of each unit of an experiment was made of, or what differs from another experiment.

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
            One row a part: unit, its key, the kind of the part (code, argument, config, upstream, ...), name and value.
            With `against` the parts that differ: unit, kind, name, value here and value there, NaN where there is none.

        Raises
        ------
        OptionError
            If there is no such experiment.

        Examples
        --------
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [1, 2])).add_callable(pow, args=[EC("x"), 2], save_to="square")
        >>> results = research.run(bar=False).results
        >>> one, other = results.df.id
        >>> results.explain(one, against=other)
          unit    part name value there
        0  pow  config    x     1     2
        """
        keys = self._keys_of(experiment_id)
        if against is None and against_id is None:
            return explanation(keys)
        if isinstance(against, str):
            return difference(keys, self._keys_of(against))
        others = self if against is None else getattr(against, "results", against)
        if not isinstance(others, ResearchResults):
            raise OptionError(f"against must be an experiment's id, or the results of another run, not {against!r}")
        return difference(keys, others._keys_of(against_id or others._counterpart(experiment_id)))

    def _keys_of(self, experiment_id: str) -> list[UnitKey]:
        experiments = self._store.experiments()
        if self._explainer is None or experiment_id not in experiments.ids:
            raise OptionError(
                f"there is no experiment {experiment_id!r} among the {len(experiments.ids)} that have ended"
                f"{near_miss(str(experiment_id), experiments.ids)}"
            )
        index = experiments.ids.index(experiment_id)
        return self._explainer(experiment_id, experiments.configs[index], experiments.groups[index])

    def _counterpart(self, experiment_id: str) -> str:
        """Return the id of the experiment that has the same config as one of another run."""
        same = [one for one in self._store.experiments().ids if one[:-8] == experiment_id[:-8]]
        if not same:
            raise OptionError(f"the other run has no experiment with the config of {experiment_id!r}; give against_id")
        return same[0]

    def _read(self) -> tuple[Experiments, Rows]:
        rows = self._store.rows()  # before the experiments, so that none of its rows is of an unknown one
        return self._store.experiments(), rows

    def _all_parameters(self, experiments: Experiments) -> tuple[str, ...]:
        names = dict.fromkeys(self._parameters)
        if any([config.auxiliary()["updates"] for config in experiments.configs]):
            names.update(dict.fromkeys(name for config in experiments.configs for name in config.texts()))
        return tuple(names)

    def __len__(self) -> int:
        return self._store.n_experiments

    def __repr__(self) -> str:
        n_experiments, n_failures = len(self), len(self._store.failures())
        return f"<ResearchResults: {n_experiments} experiments, {n_failures} failures>"

    def _repr_html_(self) -> str:
        failures = self._store.failures()  # before the experiments, as in `_read`
        experiments, rows = self._read()
        head, head_rows = head_of(experiments, rows)
        first = first_failures(failures, experiments)
        counts = (len(experiments.ids), len(rows.iterations), len(failures))
        return results_html(head, head_rows, first, self._all_parameters(head), *counts)


def _in_order(experiments: Experiments, rows: Rows) -> Sequence[int]:
    """Return the rows in domain order; those of one experiment stay as they are."""
    import numpy as np

    positions = np.asarray(experiments.positions, dtype=np.int64)[np.asarray(rows.experiments, dtype=np.int64)]
    if positions.size < 2 or bool((positions[1:] >= positions[:-1]).all()):
        return range(len(positions))
    order: list[int] = np.argsort(positions, kind="stable").tolist()
    return order
