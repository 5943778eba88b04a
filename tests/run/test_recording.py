"""Runs into folders: what they refuse and leave, and that they answer as in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from daskresearch import EC, Domain, E, O, Option, R, Research, ResearchResults
from daskresearch.errors import BusyError, DomainError, OptionError, ResearchError, StorageError
from daskresearch.store.contents import LEASE
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.compact import sweep
from daskresearch.store.folder.writer import write_part
from tests.support.running import local_cluster, note, noted, wait_for


@pytest.fixture
def name(tmp_path):
    return str(tmp_path / "research")


def test_a_variable_of_before_cannot_become_a_parameter(name):
    Research(name, Option("x", [1])).add_callable(abs, args=[EC("x")], save_to="i").run(bar=False)
    with pytest.raises(
        DomainError,
        match="'i' is a parameter and a variable of this research, now or in its folder",
    ):
        Research(name, Option("i", [1])).add_callable(abs, args=[EC("i")], save_to="y").run(
            bar=False, resume=True
        )
    assert list(ResearchResults(name).df.i) == [1]


def test_values_of_one_text_are_not_taken_for_each_other(name):
    def make(n):
        def loss():
            return n

        return loss

    research = Research(name, Option("fn", [make(1), make(2)])).add_callable(
        "f", lambda fn: fn(), fn=EC("fn"), save_to="v"
    )
    frame = research.run(bar=False).results.df
    assert list(frame.v) == [1, 2]
    assert list(frame.fn) == ["loss", "loss"]  # the folder knows no more


def test_config_values_are_shown_as_they_are_by_the_run_and_by_text_elsewhere(name):
    research = Research(name, Option("by", [np.mean, np.max])).add_callable(
        "f", lambda by: by([1, 3]), by=EC("by"), save_to="v"
    )
    results = research.run(bar=False).results
    assert list(results.df.by) == [np.mean, np.max]
    assert list(results.to_df(by=np.max).v) == [3]
    assert list(ResearchResults(name).df.by) == ["mean", "max"]


def test_results_of_a_folder_are_explained_as_those_in_memory(name):
    research = Research(name, Option("x", [1, 2, 2])).add_callable(
        pow, args=[EC("x"), 2], save_to="y"
    )
    research = research.add_callable(
        "draw", lambda random: random.random(), random=E().random, save_to="r"
    )
    kept = research.run(bar=False, seed=1, dump_results=False).results
    expected = [kept.explain(one) for one in kept.df.id]
    results = research.run(bar=False, seed=1).results
    for one, frame in zip(results.df.id, expected, strict=True):
        assert results.explain(one).equals(frame)
    with pytest.raises(OptionError, match="read from a folder have no plan to explain"):
        ResearchResults(name).explain(results.df.id[0])


def test_a_changing_domain_can_read_what_needs_pickle_and_artifacts_on_resume(name):
    def half(x, folder):
        Path(folder, "note").touch()
        return Fraction(x, 2)

    seen = []

    def update(results):
        seen.append((results.load().df.y.sum(), len(results.artifacts_to_df())))

    def research(xs):
        from daskresearch import EP

        plan = Research(name, Option("x", xs)).add_callable(half, args=[EC("x"), EP()], save_to="y")
        return plan.update_domain(update, "last", results=R())

    research([1, 2]).run(bar=False)
    research([1, 2, 3]).run(bar=False, resume=True)
    assert seen == [(Fraction(3, 2), 2), (Fraction(3), 3)]


def test_a_run_whose_lease_was_taken_changes_nothing_more():
    name = "memory://lost-lease"
    files = open_files(name)

    def usurp(results):
        lease = json.loads(files.read(LEASE))
        files.write(LEASE, json.dumps({**lease, "renewed_at": lease["renewed_at"] - 1000}).encode())
        other = Research(name, Option("x", [1, 2])).add_callable(abs, args=[EC("x")], save_to="y")
        other.run(bar=False, resume=True)

    first = Research(name, Option("x", [1])).add_callable(abs, args=[EC("x")], save_to="y")
    with pytest.raises(BusyError, match="another run"):
        first.update_domain(usurp, "last", results=R()).run(bar=False)
    assert list(ResearchResults(name).df.y) == [1, 2]
    assert [run["state"] for run in json.loads(files.read("research.json"))["runs"]] == [
        "killed",
        "finished",
    ]


def test_experiments_whose_arrays_were_swept_run_again(name, monkeypatch):
    def grid(x):
        return np.full((40, 40), x)

    def research():
        return Research(name, Option("x", [1, 2])).add_callable(grid, args=[EC("x")], save_to="y")

    research().run(bar=False)
    shutil.rmtree(next(path for path in (Path(name) / "arrays.zarr").iterdir() if path.is_dir()))
    assert len(ResearchResults(name)) == 0
    resumed = research().run(bar=False, resume=True)
    assert [array[0, 0] for array in resumed.results.df.y] == [1, 2]


def test_a_part_that_another_run_overtook_is_taken_back(name):
    def steal(token):
        path = Path(name) / "research.json"
        path.write_text(path.read_text().replace(token, "f" * 32))
        sweep(open_files(name))

    import daskresearch.store.folder.writer as writer

    def overtaken(files, part, *tables):
        steal(json.loads(files.read("research.json"))["token"])
        write_part(files, part, *tables)

    research = Research(name, Option("x", [1])).add_callable(
        "grid", lambda x: np.full((40, 40), x), x=EC("x"), save_to="y"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "write_part", overtaken)
        with pytest.raises(BusyError, match="another run has gone on"):
            research.run(bar=False)
    assert len(ResearchResults(name)) == 0


def test_an_error_at_the_end_leaves_the_folder_free(name):
    class BrokenError(Exception):
        """Raised on purpose."""

    def fail(self, *args):
        raise BrokenError

    research = Research(name, Option("x", [1])).add_callable(abs, args=[EC("x")], save_to="y")
    from daskresearch.run.recording import Recording

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "_attach_profile", fail)
        with pytest.raises(BrokenError):
            research.run(bar=False, profile=True)
    assert list(research.run(bar=False, resume=True).results.df.y) == [1]


def test_git_meta_without_a_repository_writes_nothing(tmp_path):
    script = (
        "from daskresearch import Research\n"
        "try:\n    Research('r').add_callable(abs, args=[1]).run(bar=False, git_meta=True)\n"
        "except ValueError as error:\n    print(error)"
    )
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "git" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_removed_folder_is_named_as_such(name):
    def remove(path):
        shutil.rmtree(path)

    with pytest.raises(StorageError, match="was removed while its run went on"):
        Research(name).add_callable(remove, args=[name]).run(bar=False)


def test_names_may_be_paths(tmp_path):
    path = tmp_path / "research"
    Research(path).add_callable(abs, args=[-1], save_to="y").run(bar=False)
    assert list(Research.load(path).results.df.y) == [1]
    Research("other").add_callable(abs, args=[-1], save_to="y").run(path, bar=False, resume=True)
    Research.remove(path, ask=False)
    assert not path.exists()


@pytest.mark.parametrize("url", ["memory:/one", "s3:bucket/one"])
def test_a_slip_in_a_url_is_no_folder(url):
    with pytest.raises(StorageError, match=r"did you mean '(memory|s3)://"):
        Research(url).add_callable(abs, args=[-1]).run(bar=False)
    assert not Path(url.partition("/")[0]).exists()


def test_a_research_without_its_plan_cannot_be_extended(name):
    Research(name, Option("x", [1])).add_callable(abs, args=[EC("x")], save_to="y").run(bar=False)
    loaded = Research.load(name)
    for use in (
        lambda: loaded.add_callable(abs, args=[1]),
        lambda: loaded.domain,
        lambda: loaded.run(resume=True),
    ):
        with pytest.raises(ResearchError, match="allow_pickle=True"):
            use()
    whole = Research.load(name, allow_pickle=True)
    assert list(whole.run(bar=False, resume=True).results.df.y) == [1]


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"iterations": "last"}, "iterations must be an integer"),
        ({"experiment_id": 3}, "experiment_id must be a str"),
        ({"x": lambda x: x > 1}, "no function"),
    ],
)
@pytest.mark.parametrize("dump", [True, False])
def test_filters_that_cannot_be_are_refused(name, filters, text, dump):
    research = Research(name, Option("x", [1, 2])).add_callable(abs, args=[EC("x")], save_to="y")
    results = research.run(bar=False, dump_results=dump).results
    with pytest.raises(OptionError, match=text):
        results.to_df(**filters)
    assert list(results.to_df(domain={"x": [2]}).y) == [2]
    aliases: dict[str, Any] = {"x": 2}
    assert list(results.to_df(alias=aliases).y) == [2]


def shout(text):
    """Print a text."""
    print(text)  # noqa: T201
    return text


@pytest.mark.parametrize("place", [{}, {"scheduler": "threads", "workers": 2}])
def test_what_roots_print_is_of_no_experiment(name, place, capsys):
    research = (
        Research(name, Domain(x=[1, 2]))
        .add_callable("root", shout, args=["shared"], root=True)
        .add_callable("leaf", shout, args=[EC("x")])
        .add_callable("both", lambda x: x, x=O("root"))
    )
    results = research.run(bar=False, **place).results
    assert list(results.output_to_df().stdout) == ["1\n", "2\n"]
    assert capsys.readouterr().out == "shared\n"


@pytest.mark.slow
def test_large_values_do_not_wait_for_each_other(name):
    research = Research(name, Option("x", list(range(8)))).add_callable(
        "big", lambda x: bytes(40_000_000), x=EC("x"), save_to="y"
    )
    from daskresearch.store.folder.writer import PartWriter

    waiting = []
    append = PartWriter.append

    def noted(self, ended):
        append(self, ended)
        waiting.append(len(self._waiting))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartWriter, "append", noted)
        research.run(bar=False)
    assert max(waiting) <= 3


@pytest.mark.cluster
@pytest.mark.slow
def test_what_a_batch_wrote_is_not_run_again_though_it_dies_twice(name, tmp_path):
    calls, deaths = tmp_path / "calls", tmp_path / "deaths"

    def work(x):
        note(calls, x)
        if x == 3 and len(noted(deaths)) < 2:
            wait_for(lambda: len(ResearchResults(name)) >= 3)  # those before it are written
            note(deaths, x)
            os._exit(1)
        return x

    research = Research(name, Option("x", list(range(4)))).add_callable(
        work, args=[EC("x")], save_to="y"
    )
    with local_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        cluster.scheduler.allowed_failures = 1
        research = research.run(bar=False, scheduler=client)
    assert list(research.results.df.y) == [0, 1, 2, 3]
    assert noted(calls) == ["0", "1", "2", "3", "3", "3"]
    assert research.monitor.n_finished == 4


def test_a_domain_may_have_hundreds_of_parameters(tmp_path):
    domain = Domain({f"p{number}": [number] for number in range(300)})
    frame = (
        Research(str(tmp_path / "wide"), domain=domain)
        .save(EC("p299"), "y")
        .run(bar=False)
        .results.df
    )
    assert frame.y.tolist() == [299]
    assert repr(domain).count(" * ") == 299
