"""Which modules are the user's own, and which are installed."""

from __future__ import annotations

import site
import sys
import sysconfig
from pathlib import Path


def is_users_path(name: str, path: str) -> bool:
    """Return whether a module of this name and file is the user's, and not installed."""
    return name.partition(".")[0] != "daskresearch" and not path.startswith(_INSTALLED)


def is_users_module(name: str | None) -> bool:
    """Return whether the user wrote the module of this name.

    That is ``__main__``, a module that is not installed, or none at all.

    Examples
    --------
    >>> [is_users_module(name) for name in ("__main__", "numpy", "daskresearch.errors")]
    [True, False, False]
    """
    if name == "__main__" or name is None or name not in sys.modules:
        return True
    path = getattr(sys.modules[name], "__file__", None)
    return isinstance(path, str) and is_users_path(name, path)


def _installed_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return tuple(
        sorted(
            {
                variant
                for folder in folders
                if folder
                for variant in (folder, str(Path(folder).resolve()))
            }
        )
    )


_INSTALLED = _installed_folders()
