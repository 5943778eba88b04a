"""What a folder holds beside the numbers: artifacts, and printed and logged texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daskresearch.errors import OptionError
from daskresearch.results.table import TableLayout, configs
from daskresearch.store import FolderSnapshot, FolderStore, Snapshot, Store
from daskresearch.store.contents import ARTIFACTS

if TYPE_CHECKING:
    import pandas as pd

_TEXTS = ("stdout", "stderr", "log")


def folder_of(store: Store) -> FolderStore:
    """Return a store that is a folder.

    Raises
    ------
    OptionError
        If it is kept in memory.
    """
    if not isinstance(store, FolderStore):
        raise OptionError(
            "these results are kept in memory, so that there are no files; run with "
            "dump_results=True"
        )
    return store


def artifacts_table(store: Store, snapshot: Snapshot, layout: TableLayout) -> pd.DataFrame:
    """Return one row for each file that experiments have put into their folders."""
    import numpy as np
    import pandas as pd

    files = folder_of(store).files
    order = np.argsort(snapshot.positions, kind="stable").tolist()
    index_of = {snapshot.ids[i]: i for i in order}
    pairs = [(path.partition("/")[0], path) for path in files.walk(ARTIFACTS)]
    found = [(index_of[key], path) for key, path in pairs if key in index_of and "/" in path]
    rank = {index: place for place, index in enumerate(order)}
    found.sort(key=lambda pair: (rank[pair[0]], pair[1]))
    described = configs(snapshot, np.array([index for index, _ in found], dtype=np.int64), layout)
    names = [path.partition("/")[2] for _, path in found]
    relative = [f"{ARTIFACTS}/{path}" for _, path in found]
    described["artifact_name"] = pd.Series(names, dtype=str)
    described["full_path"] = pd.Series(
        [files.local_path(path) or f"{files.url}/{path}" for path in relative], dtype=str
    )
    described["relative_path"] = pd.Series(relative, dtype=str)
    return described


def output_table(store: Store, snapshot: Snapshot) -> pd.DataFrame:
    """Return what each experiment printed and logged, in domain order."""
    import numpy as np
    import pandas as pd

    folder_of(store)
    assert isinstance(snapshot, FolderSnapshot)
    texts: dict[int, dict[str, Any]] = dict(snapshot.heavy(list(_TEXTS)))
    order = np.argsort(snapshot.positions, kind="stable").tolist()
    columns = {name: [texts[i][name] or "" for i in order] for name in _TEXTS}
    frame = {"id": [snapshot.ids[i] for i in order], **columns}
    return pd.DataFrame({name: pd.Series(values, dtype=str) for name, values in frame.items()})
