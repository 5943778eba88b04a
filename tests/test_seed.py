"""The seed notebook: every cell runs here, and every table shown in its text is the one we give.

The text holds cells as ``In [n]:``, followed by code, output and prose without marks between them.
The code of a cell is the longest run of lines that compiles; the table after it starts with
``Unnamed: 0``.
"""

from __future__ import annotations

import ast
import csv
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskresearch import Research
from tests.support.running import on_workers

SEED = Path(__file__).resolve().parents[2] / "shared" / "seed" / "research_introduction.txt"
CUT_AT = 10  # rows that the notebook's display shows of a longer table
RANDOM = (23, 25)  # tables whose values come from BatchFlow's generator
HEAVY = ("2 * 10e7", "2 * 10e3")


@dataclass(frozen=True)
class Cell:
    """One cell: its code, the lines after it, and the table among them."""

    number: int
    code: str
    output: str
    table: list[list[str]] | None

    @property
    def is_timed(self) -> bool:
        return self.code.startswith("%%timeit")


def lines_that_compile(lines: list[str]) -> int:
    """Return how many of the first lines are code: as many as compile together."""
    for n_lines in range(len(lines), 0, -1):
        try:
            ast.parse("\n".join(lines[:n_lines]))
        except SyntaxError:
            continue
        return n_lines
    return 0


def read_cell(number: int, text: str) -> Cell:
    lines = text.strip("\n").split("\n")
    magic = lines.pop(0) + "\n" if lines[0].startswith("%%") else ""
    n_lines = lines_that_compile(lines)
    while n_lines and (not lines[n_lines - 1].strip() or lines[n_lines - 1].startswith("#")):
        n_lines -= 1  # a heading of the prose compiles too, as a comment
    output = "\n".join(lines[n_lines:])
    shown = re.search(r"^Unnamed: 0,.*(?:\n.+)*", output, re.MULTILINE)
    table = list(csv.reader(shown.group().splitlines())) if shown else None
    return Cell(number, magic + "\n".join(lines[:n_lines]), output, table)


@cache
def cells() -> dict[int, Cell]:
    """Return the cells of the seed by number."""
    if not SEED.exists() and not os.environ.get("CI"):
        pytest.skip("the seed notebook is not part of the repository; CI has it in ../shared")
    if not SEED.exists():
        pytest.fail(
            f"the seed notebook is not at {SEED}: "
            "this test needs ../shared/seed beside the repository"
        )
    parts = re.split(r"^In \[(\d+)\]:\n", SEED.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    numbered = zip(parts[::2], parts[1::2], strict=True)
    return {int(number): read_cell(int(number), text) for number, text in numbered}


def translated(code: str) -> str:
    """Return a cell's code with our import, no path of its own, and a shorter loop."""
    code = code.removeprefix("%%timeit").lstrip("\n").replace(*HEAVY)
    kept = [line for line in code.split("\n") if "sys.path" not in line and line != "import sys"]
    return "\n".join(kept).replace("from batchflow.research import", "from daskresearch import")


def evaluate(cell: Cell, namespace: dict[str, Any]) -> Any:
    """Run a cell as a notebook does and return the value of its last expression."""
    tree = ast.parse(translated(cell.code))
    local = {} if cell.is_timed else namespace  # %%timeit runs its body in a function
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    name = f"<seed cell {cell.number}>"
    exec(compile(tree, name, "exec"), namespace, local)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), name, "eval"), namespace, local)
    return None


@pytest.fixture(scope="module", params=["here", on_workers("as it is")])
def values(request: pytest.FixtureRequest) -> dict[int, Any]:
    """Return the value of each cell's last expression, all run in order in one namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    ordered = [cell for _, cell in sorted(cells().items())]
    if request.param == "here":
        ordered = [replace(one, code=one.code.replace("workers=2", "workers=1")) for one in ordered]
    return {cell.number: evaluate(cell, namespace) for cell in ordered}


TABLES = [3, 4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, *RANDOM]
tables = pytest.mark.parametrize("number", TABLES)


def table_of(number: int) -> list[list[str]]:
    table = cells()[number].table
    assert table is not None
    return table


def shown_rows(number: int) -> list[dict[str, str]]:
    header, *rows = table_of(number)
    return [dict(zip(header, row, strict=True)) for row in rows]


def looks_like(value: Any, text: str) -> bool:
    """Whether a value would be displayed as the text, ints as ints and floats to seven digits."""
    if text == "":
        return bool(pd.isna(value))
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return str(value) == text
    if isinstance(value, Integral):
        return str(int(value)) == text
    if isinstance(value, float):
        return "." in text and value == pytest.approx(float(text), rel=1e-6)
    return isinstance(value, str) and value == text


def test_the_seed_has_its_25_cells_and_14_tables():
    assert list(cells()) == list(range(1, 26))
    assert [number for number, cell in cells().items() if cell.table is not None] == TABLES


def test_code_is_told_from_output_and_prose():
    assert cells()[5].code == "domain = Domain(a=[2, 3], b=[3, 2])"
    assert cells()[3].code == "research.results.df"
    assert cells()[18].code.endswith("for i in range(i):\n        pass")
    assert cells()[21].code.startswith("%%timeit")
    assert cells()[21].code.endswith("workers=2, bar=False)")
    for cell in cells().values():
        assert not re.search(r"Unnamed|it \[|#|batchflow\.research\.research", cell.code)


def test_the_only_words_changed_are_imports_and_the_heavy_loop():
    assert [n for n, cell in cells().items() if cell.code != translated(cell.code)] == [
        1,
        18,
        19,
        20,
        21,
        22,
    ]
    assert (
        translated(cells()[1].code).strip()
        == "from daskresearch import Research, Option, Domain, EC, O, EP"
    )
    assert "from daskresearch import E\n" in translated(cells()[22].code)
    assert translated(cells()[19].code) == "heavy_callable()"


def test_every_cell_runs(values):
    assert list(values) == list(range(1, 26))


@pytest.mark.parametrize("number", [2, 6, 22, 24])
def test_run_returns_the_research(values, number):
    assert "<batchflow.research.research.Research at" in cells()[number].output
    assert isinstance(values[number], Research)


@tables
def test_a_table_has_the_shown_columns_in_order(values, number):
    header = table_of(number)[0]
    assert list(values[number].columns) == header[1:]


@tables
def test_a_table_has_the_shown_number_of_rows(values, number):
    n_shown = len(shown_rows(number))
    if n_shown < CUT_AT:
        assert len(values[number]) == n_shown
    else:
        assert (
            len(values[number]) == 12
        )  # 4 experiments of 3 iterations: the display cut the last two rows


@tables
def test_a_table_is_indexed_by_row_number(values, number):
    assert list(values[number].index) == list(range(len(values[number])))
    assert [row["Unnamed: 0"] for row in shown_rows(number)] == [
        str(i) for i in values[number].index[:CUT_AT]
    ]


@tables
def test_the_first_eight_digits_of_ids_are_the_shown_ones(values, number):
    assert [one[:8] for one in values[number].id[:CUT_AT]] == [
        row["id"][:8] for row in shown_rows(number)
    ]


@tables
def test_ids_end_with_eight_digits_of_their_own(values, number):
    found = list(values[number].id)
    assert all(re.fullmatch(r"[0-9a-f]{8}\d{8}", one) for one in found)
    shown = [row["id"] for row in shown_rows(number)]
    assert [one == other for one, other in pairwise(found[:CUT_AT])] == [
        one == other for one, other in pairwise(shown)
    ]


@tables
def test_a_table_has_the_shown_values(values, number):
    random_columns = {"stat"} if number in RANDOM else set()
    for i, shown in enumerate(shown_rows(number)):
        row = {name: values[number][name].iloc[i] for name in values[number].columns}
        for name in set(row) - {"id"} - random_columns:
            assert looks_like(row[name], shown[name]), (
                f"row {i}, {name}: {row[name]!r} is shown as {shown[name]!r}"
            )


@pytest.mark.parametrize("number", [13, 14, 15, 16])
def test_the_rows_that_the_display_cut_go_on_as_the_shown_ones(values, number):
    last = values[number].iloc[-3:]
    assert list(last.inc) == [9, 10, 10]
    assert list(last.iteration) == [0, 1, 2]
    assert len(set(last.id)) == 1


def test_finalize_runs_the_last_unit_after_exhaustion(values):
    assert values[15].root.iloc[-1] == pytest.approx(10**0.5)
    assert values[15].root.notna().sum() == 4
    assert values[16].root.isna().all()


def test_a_new_run_gives_new_digits_to_the_same_config(values):
    (one,), (other,) = values[3].id, values[4].id
    assert one[:8] == other[:8]
    assert one != other


@pytest.mark.parametrize("number", RANDOM)
def test_a_random_table_has_numbers_before_the_shown_texts(values, number):
    for text, shown in zip(values[number].stat, shown_rows(number), strict=True):
        number_text, suffix = text.split(" ", 1)
        assert re.fullmatch(r"-?\d\.\d\d", number_text)
        assert suffix == shown["stat"].split(" ", 1)[1]


def numbers_by_experiment(frame: pd.DataFrame) -> list[list[float]]:
    frame = frame.assign(number=[float(text.split(" ", 1)[0]) for text in frame.stat])
    return [list(rows.number) for _, rows in frame.groupby("id", sort=False)]


def test_experiments_without_branches_draw_numbers_of_their_own(values):
    one, other = numbers_by_experiment(values[23])
    assert (
        one != other
    )  # two pairs of means of ten, rounded to 0.01: equal by chance once in 10,000 runs


def test_experiments_of_a_group_share_the_numbers_of_each_iteration(values):
    one, other = numbers_by_experiment(values[25])
    assert one == other
