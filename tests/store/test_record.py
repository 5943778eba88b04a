"""What an experiment leaves behind."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daskresearch import EC, O, Option, Research
from daskresearch.store.failure import FailureKind


def broken():
    raise ValueError("on purpose")


def odd(x):
    if x == 3:
        raise ValueError("on purpose")


def few(name: Path | str) -> Research:
    return Research(name, domain=Option("x", [2, 3])).odd(EC("x"))


@pytest.mark.parametrize("dump_results", [True, False], ids=["folder", "memory"])
def test_kinds_of_failures_are_plain_texts_in_a_table(dump_results, tmp_path):
    options = {"bar": False, "dump_results": dump_results}
    raised = few(tmp_path / "few").run(**options)
    shared = Research(tmp_path / "shared").broken(root=True).save(O("broken"), "y").run(**options)
    kinds = [*raised.results.failures["kind"], *shared.results.failures["kind"]]
    assert kinds == ["exception", "upstream"]
    assert {type(kind) for kind in kinds} == {str}


def test_kinds_of_failures_are_plain_texts_in_a_file(tmp_path):
    few(tmp_path / "few").run(bar=False)
    (path,) = (tmp_path / "few" / "experiments").glob("*.parquet")
    listed = pq.read_table(path).column("failures").to_pylist()
    assert [failure["kind"] for failures in listed for failure in failures or ()] == ["exception"]


def test_a_kind_of_failure_finds_its_retries_by_plain_text():
    assert {"timeout": 2}[FailureKind.TIMEOUT] == 2
