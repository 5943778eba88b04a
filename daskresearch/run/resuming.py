"""Whether a run may use a folder: it is free, or holds a research to go on with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from daskresearch.errors import FolderExistsError, OptionError
from daskresearch.run.options import RunOptions
from daskresearch.store.contents import DESCRIPTION, LEASE, LOCK
from daskresearch.store.files.base import Files

LOCKS = (LOCK, LEASE)


def check_writable_names(names: Iterable[str]) -> None:
    """Refuse names that no file can hold.

    Raises
    ------
    OptionError
        Names the first of them.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise OptionError(
                f"{name!r} cannot be the name of a column in a file, as it is no valid text; "
                "rename it, or run with dump_results=False"
            ) from None


def check_free(files: Files, name: str, *, resumes: bool) -> None:
    """Refuse a folder that is there already, unless it is a research that resumes.

    Raises
    ------
    FolderExistsError
    """
    entries = [entry for entry in files.names("") if entry not in LOCKS]
    if DESCRIPTION in entries:
        if not resumes:
            raise FolderExistsError(
                f"there is a research {name!r} already; go on with it by resume=True, remove it by "
                f"Research.remove({name!r}), or run under another name"
            )
    elif entries:
        raise FolderExistsError(
            f"the folder {name!r} is there already and is no research: it holds {entries[0]!r}; "
            f"give the research another name, as by run({name + '_results'!r})"
        )


def check_options(before: Mapping[str, Any], options: RunOptions) -> None:
    """Refuse options that would give other ids or numbers than those in the folder."""
    seed = int(before["seed"])
    if options.seed is not None and options.seed != seed:
        raise OptionError(
            f"the research was made with seed {seed}, so that it cannot go on with seed "
            f"{options.seed}; leave the seed away, or run under another name"
        )
    was = before.get("create_id_prefix", False)
    if was != options.create_id_prefix:
        raise OptionError(
            f"the research was made with create_id_prefix={was}; resume it with the same"
        )


def remove_empty(files: Files) -> None:
    """Remove a local folder that holds nothing but locks."""
    path = files.local_path("")
    if path is not None and set(os.listdir(path)) <= set(LOCKS):
        for name in LOCKS:
            files.remove(name)
        os.rmdir(path)


def changed_parts(others: list[dict[str, str]], definition: Mapping[str, str]) -> list[str]:
    """Return the units and options that differ between definitions, for a warning."""
    names = dict.fromkeys([*definition, *(name for other in others for name in other)])
    texts = []
    for name in names:
        for other in others:
            here, there = definition.get(name), other.get(name)
            what = name.removeprefix("option ") if name.startswith("option ") else f"unit {name!r}"
            if here is None or there is None:
                texts.append(f"{what} (which {'is new' if there is None else 'is gone'})")
            elif not here or not there:
                texts.append(f"{what} (whose code cannot be compared)")
            elif here != there:
                texts.append(what)
            else:
                continue
            break
    return texts
