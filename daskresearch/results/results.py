"""The results of a research, complete or so far."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain import Config, Domain
from daskresearch.results.artifacts import artifacts_table, folder_of, output_table
from daskresearch.results.dask_frame import frame_in_memory, frame_of_folder
from daskresearch.results.display import head_of, results_html, results_text
from daskresearch.results.explain import Explained, Explainer
from daskresearch.results.gridded import dataset_of
from daskresearch.results.pickled import pickled
from daskresearch.results.select import Asked, Filters, as_iterations, as_names
from daskresearch.results.table import TableLayout, configs, failures_table, table_of
from daskresearch.store import FolderStore, Snapshot, Store, retried
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.description import described

if TYPE_CHECKING:
    import pandas as pd


@final
class ResearchResults(Explained):
    """What the experiments of a research have recorded, also while a run goes on.

    Of a folder any process can read them: it needs no scheduler, no plan and none of the user's
    code.

    Parameters
    ----------
    source : str, PathLike or Store
        The name of a research, which is that of its folder: a path or a URL. (A run gives its own
        store.)
    parameters : sequence of str
        The parameters of the domain, which are columns of every table. Default: those that the
        folder names.
    explainer : callable, optional
        Gives the keys of the units of an experiment from its id, config and the key of its group.
    allow_pickle : bool
        Whether values of a folder are unpickled that no file format holds. That runs code of
        whoever wrote them: allow it only for folders that you trust. Else they are shown as
        `Pickled`.

    Raises
    ------
    StorageError
        If the folder is none of a research, or cannot be read.

    Examples
    --------
    >>> from daskresearch import EC, Option, Research
    >>> research = Research(domain=Option("x", [1, 2])).pow(EC("x"), 2, save_to="square")
    >>> results = research.run(bar=False, dump_results=False).results
    >>> results.to_df(x=2).square.item()
    4

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     research = Research(f"{folder}/powers", Option("x", [3]))
    ...     _ = research.pow(EC("x"), 2, save_to="square").run(bar=False)
    ...     ResearchResults(f"{folder}/powers").df.square.item()
    9
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Store,
        parameters: Sequence[str] = (),
        explainer: Explainer | None = None,
        *,
        allow_pickle: bool = False,
    ) -> None:
        if isinstance(source, (str, os.PathLike)):
            files = open_files(source)
            description = described(files)
            source = FolderStore(files, tuple(description["variables"]), allow_pickle=allow_pickle)
            parameters = parameters or description["parameters"]
        self._store = source
        self._parameters = tuple(parameters)
        self._explainer = explainer

    @property
    def df(self) -> pd.DataFrame:
        """The table of all rows in domain order; see `to_df`."""
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
        domain: Domain | Mapping[str, Any] | None = None,
        arrays: str = "eager",
        **params: Any,
    ) -> pd.DataFrame:
        """Return the rows that all filters let pass as a table.

        Parameters
        ----------
        pivot : bool
            Whether each variable is a column; else each recorded value is a row with ``name`` and
            ``value``.
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
            Values of parameters that a config must have, `repetition` and `updates` among them; a
            list means any of its members.
        alias : Mapping, optional
            The same by texts.
        domain : Domain or Mapping, optional
            Configs that agree with one of this domain's.
        arrays : {'eager', 'lazy'}
            Whether large arrays of a folder are read, or stand in the table as objects that read
            what is asked of them.
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
        >>> results = research.run(bar=False, dump_results=False).results
        >>> results.to_df(pivot=False, concat_config=True, x=[2]).iloc[:, 1:]
          config  iteration    name  value
        0    x_2          0  square      4
        """
        filters = Filters(experiment_id, config, alias, domain, params)
        asked = Asked(filters, name, as_iterations(iterations), arrays)
        options = (include_config, use_alias, concat_config, remove_auxilary, drop_columns)
        return retried(lambda: self._table(self._store.snapshot(), asked, pivot, options))

    def _table(
        self, snapshot: Snapshot, asked: Asked, pivot: bool, options: tuple[bool, ...]
    ) -> pd.DataFrame:
        layout = TableLayout(self._all_parameters(snapshot), *options)
        return table_of(snapshot, asked, layout, self._all_variables(snapshot), pivot=pivot)

    def configs_to_df(
        self,
        use_alias: bool = False,
        concat_config: bool = False,
        remove_auxilary: bool = True,
        drop_columns: bool = True,
    ) -> pd.DataFrame:
        """Return the id and config of each finished experiment, of failed ones too.

        Parameters
        ----------
        use_alias, concat_config, remove_auxilary, drop_columns : bool
            As in `to_df`.

        Examples
        --------
        >>> from daskresearch import Option, Research
        >>> research = Research(domain=Option("x", [1, 2])).print("", end="")
        >>> list(research.run(bar=False, dump_results=False).results.configs_to_df().x)
        [1, 2]
        """
        import numpy as np

        snapshot = self._store.snapshot()
        layout = TableLayout(
            self._all_parameters(snapshot),
            True,
            use_alias,
            concat_config,
            remove_auxilary,
            drop_columns,
        )
        return configs(snapshot, np.argsort(snapshot.positions, kind="stable"), layout)

    def artifacts_to_df(self, include_config: bool = True, use_alias: bool = False) -> pd.DataFrame:
        """Return one row for each file that experiments put into their folders, ``EP()``.

        Parameters
        ----------
        include_config : bool
            Whether the parameters are columns.
        use_alias : bool
            Whether parameters are shown by their texts.

        Returns
        -------
        pandas.DataFrame
            With the columns id, parameters, ``artifact_name``, ``full_path`` and ``relative_path``,
            that within the folder of the research.

        Raises
        ------
        OptionError
            If the results are kept in memory.

        Examples
        --------
        >>> import tempfile
        >>> from daskresearch import EP, Research
        >>> def draw(folder):
        ...     with open(f"{folder}/picture.txt", "w") as file:
        ...         _ = file.write(":-)")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     research = Research(f"{folder}/pictures").add_callable(draw, args=[EP()])
        ...     list(research.run(bar=False).results.artifacts_to_df().artifact_name)
        ['picture.txt']
        """
        snapshot = self._store.snapshot()
        layout = TableLayout(self._all_parameters(snapshot), include_config, use_alias)
        return artifacts_table(self._store, snapshot, layout)

    def output_to_df(self) -> pd.DataFrame:
        r"""Return what each experiment printed and logged, as far as `run` was to keep it.

        Returns
        -------
        pandas.DataFrame
            With the columns id, stdout, stderr and log, in domain order.

        Raises
        ------
        OptionError
            If the results are kept in memory.

        Examples
        --------
        >>> import tempfile
        >>> from daskresearch import Research
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     research = Research(f"{folder}/prints").print("hello").run(bar=False)
        ...     list(research.results.output_to_df().stdout)
        ['hello\n']
        """
        return retried(lambda: output_table(self._store, self._store.snapshot()))

    @property
    def ddf(self) -> Any:
        """The table of all rows as a dask.dataframe; see `to_df`.

        Its types come from the schemas of the files. Rows are read when it is computed.
        """
        if not isinstance(self._store, FolderStore):
            return frame_in_memory(self.df)
        store = self._store.copied()
        return frame_of_folder(
            store, self._parameters, lambda names: ResearchResults(store, names)._read_part
        )

    def _read_part(self, name: str) -> pd.DataFrame:
        asked = Asked(Filters(), None, None, "eager")
        snapshot = folder_of(self._store).snapshot_of(name)
        return self._table(snapshot, asked, True, (True, False, False, True, True))

    def to_xarray(self, **filters: Any) -> Any:
        """Return the results as an xarray Dataset; its dimensions are the parameters.

        The iterations are one more dimension, and `repetition` if there are several. Values of
        parameters that cannot be coordinates are shown by their texts. Arrays of one shape add
        dimensions of their own. Cells without a row are NaN.

        Parameters
        ----------
        **filters
            Those of `to_df`.

        Raises
        ------
        OptionError
            If xarray is not installed, or two rows have the same coordinates.

        Examples
        --------
        >>> from daskresearch import EC, Domain, Research
        >>> domain = Domain(x=[1, 2], y=[1, 2, 3])
        >>> research = Research(domain=domain).pow(EC("x"), EC("y"), save_to="power")
        >>> dataset = research.run(bar=False, dump_results=False).results.to_xarray()
        >>> dataset.power.dims, dataset.power.sel(x=2, y=3).item()
        (('x', 'y', 'iteration'), 8)
        """
        frame = self.to_df(remove_auxilary=False, **filters)
        texts = self.to_df(remove_auxilary=False, use_alias=True, **filters)
        snapshot = self._store.snapshot()
        variables = as_names(filters.get("name"), self._all_variables(snapshot))
        return dataset_of(frame, texts, self._all_parameters(snapshot), variables)

    def load(self, *, allow_pickle: bool = True) -> ResearchResults:
        """Return the same results, with values unpickled that no file format holds.

        That runs code of whoever wrote the folder: do it only with folders that you trust.

        Parameters
        ----------
        allow_pickle : bool

        Examples
        --------
        >>> import tempfile
        >>> from fractions import Fraction
        >>> from daskresearch import Research
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     research = Research(f"{folder}/third")
        ...     _ = research.add_callable(Fraction, args=[1, 3], save_to="x").run(bar=False)
        ...     results = ResearchResults(f"{folder}/third")
        ...     results.df.x[0], results.load().df.x[0]
        (<pickled value of ... bytes; read with allow_pickle=True>, Fraction(1, 3))
        """
        if not isinstance(self._store, FolderStore):
            return self
        store = self._store.reopened(allow_pickle=allow_pickle)
        return ResearchResults(store, self._parameters, self._explainer)

    @property
    def failures(self) -> pd.DataFrame:
        """The table of what went wrong, a row for each failure in domain order.

        Its columns are id, unit, iteration, exception, traceback, kind and worker.
        The kind is ``'exception'`` of a unit, ``'upstream'`` for one of a root that the experiment
        shares, ``'timeout'``, ``'cancelled'``, or ``'worker'`` if the worker process died each time
        the experiment ran. The worker is the host and process id where it happened, empty if nobody
        knows.
        """
        return retried(lambda: failures_table(self._store.snapshot()))

    def _all_parameters(self, snapshot: Snapshot) -> tuple[str, ...]:
        names = dict.fromkeys(self._parameters)
        if snapshot.has_updates:
            names.update(dict.fromkeys(snapshot.parameters))
        return tuple(names)

    def _all_variables(self, snapshot: Snapshot) -> list[str]:
        return list(dict.fromkeys([*self._store.variables, *snapshot.variables]))

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return _unpickled, (pickled(self._store, self._parameters),)

    def __len__(self) -> int:
        return self._store.n_experiments

    def __repr__(self) -> str:
        return retried(lambda: results_text(self._store.snapshot()))

    def _repr_html_(self) -> str:
        return self._html("ResearchResults", "")

    def _html(self, kind: str, name: str) -> str:
        """Return the repr in a notebook, headed by `kind` and `name`."""

        def shown() -> str:
            snapshot = self._store.snapshot()
            variables = self._all_variables(snapshot)
            return results_html(
                snapshot, head_of(snapshot), self._parameters, variables, kind, name
            )

        return retried(shown)


def _unpickled(content: bytes) -> ResearchResults:
    """Return results from their pickle; they have no plan to explain."""
    return ResearchResults(*pickle.loads(content))
