"""Ctrl-C keeps what is finished, wherever experiments run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import sys, time
from daskresearch import EC, Option, Research

def work(path, x):
    with open(path, "a") as file:
        file.write(f"{x}\\n")
    time.sleep(0.05)
    return x

if __name__ == "__main__":
    research = Research(domain=Option("x", list(range(10_000)))).work(sys.argv[1], EC("x"), save_to="y")
    try:
        research.run(bar=False, dump_results=False, %s)
    except KeyboardInterrupt:
        table = research.results.df
        print(len(table), (table.x == table.y).all(), research.is_finished)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", ["workers=1", "scheduler='threads', workers=2", "workers=2"])
def test_an_interrupt_leaves_finished_experiments_readable(tmp_path, options):
    script, calls = tmp_path / "script.py", tmp_path / "calls"
    script.write_text(SCRIPT % options)
    process = subprocess.Popen(
        [sys.executable, str(script), str(calls)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (calls.exists() and len(calls.read_text().split()) >= 40) and time.monotonic() < deadline:
            time.sleep(0.05)
        # a terminal sends it to every process of the group
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    n_rows, are_right, is_finished = out.split()
    n_begun = len(calls.read_text().split())
    assert (are_right, is_finished) == ("True", "True")
    # a worker gives its batch back after a quarter of a second
    assert n_begun - 25 <= int(n_rows) <= n_begun
