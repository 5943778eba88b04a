"""What `import daskresearch` costs on top of what Dask's users import anyway."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import Row, Sizes, Target

LAZY = ("pandas", "pyarrow", "zarr", "distributed", "scipy")
"""What is to be imported when it is first used."""

_FLOOR = "dask, numpy"


class EagerImportError(AssertionError):
    """The import of daskresearch brings something that is to wait until it is used."""


def import_time(sizes: Sizes) -> list[Row]:
    """Import in fresh interpreters, ours and the floor in turn."""
    imported = _output_of("import sys, daskresearch; print(*sys.modules)").split()
    eager = [name for name in LAZY if name in imported]
    if eager:
        raise EagerImportError(
            f"`import daskresearch` imports {', '.join(eager)}, which must wait until first used"
        )
    times_s: dict[str, list[float]] = {"daskresearch": [], _FLOOR: []}
    for names in times_s:
        _seconds_of_import(names)
    for _ in range(2 * sizes.n_rounds):
        for names, times in times_s.items():
            times.append(_seconds_of_import(names))
    ours, floor = [1000 * statistics.median(times) for times in times_s.values()]
    return [Row("import daskresearch", ours, floor, "ms", f"import {_FLOOR}", Target(1.3, "ratio"))]


def _seconds_of_import(names: str) -> float:
    """Return the seconds that an import takes, without the start of the interpreter."""
    clock = "import time; start = time.perf_counter()"
    return float(_output_of(f"{clock}; import {names}; print(time.perf_counter() - start)"))


def _output_of(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
