"""What a folder says of itself: ``research.json``."""

from __future__ import annotations

import json
from typing import Any, Final

from daskresearch.errors import StorageError
from daskresearch.store.contents import DESCRIPTION
from daskresearch.store.files.base import Files, translated

FORMAT: Final = 1

_NEEDED: Final[dict[str, type]] = {
    "name": str, "seed": int, "parameters": list, "variables": list, "definitions": dict, "runs": list,
}  # fmt: skip


def read_description(files: Files) -> dict[str, Any] | None:
    """Return the description of a research, None if the folder has none.

    Raises
    ------
    StorageError
        If it is not one that this version reads.
    """
    try:
        content = files.read(DESCRIPTION)
    except FileNotFoundError:
        return None
    path = f"{files.url}/{DESCRIPTION}"
    with translated(path, "read", "restore it, or remove the folder"):
        description: dict[str, Any] = json.loads(content)
        if description["format"] > FORMAT:
            raise StorageError(
                f"{path} has format {description['format']}, this release reads up to {FORMAT}; "
                f"upgrade it"
            )
        for name, kind in _NEEDED.items():
            if not isinstance(description[name], kind):
                raise TypeError(f"{name!r} is {description[name]!r}")
        texts = [*description["parameters"], *description["variables"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"'parameters' or 'variables' hold something else than texts: {texts}")
    return description


def described(files: Files) -> dict[str, Any]:
    """Return the description of a research.

    Raises
    ------
    StorageError
        If the folder has none.
    """
    description = read_description(files)
    if description is None:
        raise StorageError(
            f"{files.url!r} is no folder of a research: it has no {DESCRIPTION}; give the name that run() had"
        )
    return description
