"""The command: measure the workloads and print the table; see `benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace

from benchmarks.cluster import cluster
from benchmarks.graphs import graph, keys, preview
from benchmarks.imports import import_time
from benchmarks.measure import SMOKE, Row, Sizes, in_fresh_interpreter, table
from benchmarks.memory import memory
from benchmarks.scaling import scaling
from benchmarks.sharing import shared_prefix, sweep
from benchmarks.storage import filtered, folder, folder_memory, frame
from benchmarks.workloads import growth, loops, loops_in_two, small, small_in_two

WORKLOADS: dict[str, Callable[[Sizes], list[Row]]] = {
    "small": small,
    "small-in-two": small_in_two,
    "loops": loops,
    "loops-in-two": loops_in_two,
    "import": import_time,
    "growth": growth,
    "memory": memory,
    "keys": keys,
    "graph": graph,
    "preview": preview,
    "shared-prefix": shared_prefix,
    "sweep": sweep,
    "folder": folder,
    "frame": frame,
    "filtered": filtered,
    "folder-memory": folder_memory,
    "cluster": cluster,
    "scaling": scaling,
}


def main(arguments: list[str] | None = None) -> int:
    """Print the table and return the exit status: 1 if a workload broke."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Our times beside their floors."
    )
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes: only see that everything works"
    )
    parser.add_argument(
        "--only", choices=WORKLOADS, metavar="NAME", help=f"one of {', '.join(WORKLOADS)}"
    )
    chosen = parser.parse_args(arguments)
    rows, broken = measured(
        [chosen.only] if chosen.only else list(WORKLOADS), SMOKE if chosen.smoke else Sizes()
    )
    if chosen.smoke:
        rows = [replace(row, target=None) for row in rows]  # targets are for the full sizes
    print(table(rows))
    print(f"\n{_machine()}")
    for name, text in broken.items():
        print(f"\n{name} is broken:\n{text}", file=sys.stderr)
    return 1 if broken else 0


def measured(names: list[str], sizes: Sizes) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of the named workloads, and the traceback of each that raised."""
    rows: list[Row] = []
    broken: dict[str, str] = {}
    for name in names:
        try:
            rows += in_fresh_interpreter(WORKLOADS[name], sizes)
        except Exception:  # the other workloads are still worth a row
            broken[name] = traceback.format_exc()
    return rows, broken


def _machine() -> str:
    load = ", ".join([f"{average:.1f}" for average in os.getloadavg()])
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    return f"{machine}; load over the last 1, 5 and 15 minutes: {load}"


if __name__ == "__main__":
    sys.exit(main())
