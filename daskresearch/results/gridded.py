"""Results as an xarray Dataset: parameters and iterations are dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd


def dataset_of(
    frame: pd.DataFrame, texts: pd.DataFrame, parameters: Sequence[str], variables: Sequence[str]
) -> Any:
    """Return a wide table as a Dataset.

    Parameters
    ----------
    frame : DataFrame
        With the parameters, repetition, iteration and variables.
    texts : DataFrame
        The same with the texts of parameters, which stand for values that cannot be coordinates.
    parameters, variables : sequence of str

    Raises
    ------
    OptionError
        If xarray is not installed, or two rows have the same coordinates.
    """
    try:
        import xarray as xr
    except ImportError:
        raise OptionError(
            "to_xarray() needs xarray; install it, as by pip install 'daskresearch[xarray]'"
        ) from None
    import numpy as np

    dims = [*parameters, *_needed(frame), "iteration"]
    clash = [name for name in variables if name in (*dims, "id")]
    if clash:
        raise OptionError(
            f"variable {clash[0]!r} is named like a dimension; name the variables that you want by "
            "name="
        )
    codes, coords = [], {}
    for name in dims:
        column = frame[name] if _can_index(frame[name]) else texts[name]
        values, code = _coordinate(column)
        coords[name] = values
        codes.append(code)
    shape = tuple(len(coords[name]) for name in dims)
    flat = np.ravel_multi_index(codes, shape) if len(frame) else np.zeros(0, int)
    if len(np.unique(flat)) < len(flat):
        raise OptionError(
            f"two rows have the same {', '.join(dims)}, so that they are no grid; give filters "
            "that leave one of them"
        )
    arrays = {name: _gridded(name, frame[name], flat, shape, dims) for name in variables}
    ids = _gridded("id", frame["id"], flat, shape, dims)
    return xr.Dataset(arrays, coords={**coords, "id": ids})


def _needed(frame: pd.DataFrame) -> list[str]:
    return [name for name in AUXILIARY if len(set(frame[name])) > 1]


def _can_index(column: pd.Series) -> bool:
    try:
        column.nunique()
    except TypeError:
        return False
    return not any(callable(value) for value in column[:1]) and column.map(type).nunique() <= 2


def _coordinate(column: pd.Series) -> tuple[Any, Any]:
    """Return the distinct values of a column in order, and for each row which it has."""
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(column, use_na_sentinel=False)
    return np.asarray(values), codes


def _gridded(
    name: str, column: pd.Series, flat: Any, shape: tuple[int, ...], dims: list[str]
) -> Any:
    """Return the cells of a variable on the grid, NaN where there is none.

    Arrays of one shape add dimensions.
    """
    import numpy as np

    shapes = {getattr(value, "shape", ()) for value in column}
    inner = next(iter(shapes)) if len(shapes) == 1 else ()
    if inner:
        cells = np.stack([np.asarray(value) for value in column])
    else:
        cells = column.to_numpy()
        cells = cells.astype(object) if cells.dtype.kind not in "biufcmM" else cells
    is_full = len(flat) == int(np.prod(shape))
    kind = (
        cells.dtype
        if is_full or cells.dtype.kind in "fcmMO"
        else np.dtype(float if cells.dtype.kind != "b" else object)
    )
    grid = np.full((int(np.prod(shape)), *inner), _nothing(kind), dtype=kind)
    grid[flat] = cells
    return ([*dims, *[f"{name}_{i}" for i in range(len(inner))]], grid.reshape(*shape, *inner))


def _nothing(dtype: Any) -> Any:
    import numpy as np

    if dtype.kind in "mM":
        return np.array("NaT", dtype=dtype)
    return np.nan if dtype.kind in "fcO" else 0
