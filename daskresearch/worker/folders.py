"""The folders of experiments, and the temporary ones in which they are made."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import weakref
from functools import cache
from typing import Any

from daskresearch.errors import StorageError


def temporary_folder(owner: Any) -> str:
    """Return the path of a new folder that is removed when its owner is."""
    folder = tempfile.mkdtemp(prefix="daskresearch-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def made_folder(parent: str, experiment_id: str) -> str:
    """Return the path of an experiment's folder, which is made if it is not there.

    Raises
    ------
    StorageError
        If it is a link.
    """
    path = os.path.join(parent, experiment_id)
    if os.path.islink(path):
        raise StorageError(
            f"{path!r} is a link, which the folder of an experiment never is; remove it"
        )
    os.makedirs(path, exist_ok=True)
    return path


@cache
def folder_of_process() -> str:
    """Return the temporary folder of this process, where folders of experiments begin."""
    folder = tempfile.mkdtemp(prefix="daskresearch-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
