"""The tracker of docs/trackers.md logs experiments to MLflow as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from daskresearch import EC, E, Option, Research
from tests.support.running import IN_PROCESS, on_workers

N_ITERS = 1200
"""More numbers than MLflow takes at once."""


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the tracker over a new database, as MLflow refuses new folders of files."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        page = Path(__file__).parents[2] / "docs" / "trackers.md"
        section = page.read_text().partition("\n## Trackers\n")[2]
        found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
        assert found is not None
        names: dict[str, Any] = {"__name__": "trackers"}
        exec(found[1], names)
        yield names["MLflow"](f"sqlite:///{folder}/mlflow.db")


def measure(kind, i):
    if kind == "bad" and i == 2:
        raise ValueError("on purpose")
    return i / 2


def label(i):
    return f"step {i}"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["serial", on_workers("client")])
def test_experiments_become_runs_of_mlflow(place, tracker, request, tmp_path):
    where = {"scheduler": request.getfixturevalue("client")} if place == "client" else IN_PROCESS
    domain = Option("kind", ["good"]) * Option("rate", [0.1]) + Option("kind", ["bad"])
    research = (
        Research(tmp_path / place, domain=domain)
        .add_callable("loss", measure, kind=EC("kind"), i=E().iteration, save_to="loss")
        .add_callable("label", label, i=E().iteration, save_to="label")
    )
    research.run(bar=False, n_iters=N_ITERS, observers=[tracker], **where)

    client = tracker.client
    experiment = client.get_experiment_by_name(str(tmp_path / place))
    runs = {run.data.params["kind"]: run for run in client.search_runs([experiment.experiment_id])}
    ids = dict(research.results.configs_to_df()[["kind", "id"]].values)
    assert {kind: run.info.run_name for kind, run in runs.items()} == ids
    assert {kind: run.info.status for kind, run in runs.items()} == {
        "good": "FINISHED",
        "bad": "FAILED",
    }
    same = {"repetition": "0", "updates": "0"}
    assert runs["good"].data.params == {"kind": "good", "rate": "0.1", **same}
    assert runs["bad"].data.params == {"kind": "bad", **same}
    for kind, n_iters in (("good", N_ITERS), ("bad", 2)):
        history = client.get_metric_history(runs[kind].info.run_id, "loss")
        assert [(one.step, one.value) for one in history] == [(i, i / 2) for i in range(n_iters)]
        assert set(runs[kind].data.metrics) == {"loss"}


@pytest.mark.slow
def test_a_second_run_adds_to_the_same_experiment_of_mlflow(tracker, tmp_path):
    for values, resume in (([1], False), ([1, 2], True)):
        research = Research(tmp_path / "grown", domain=Option("x", values)).save(EC("x"), "y")
        research.run(bar=False, observers=[tracker], resume=resume)
    experiment = tracker.client.get_experiment_by_name(str(tmp_path / "grown"))
    runs = tracker.client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["y"] for run in runs) == [1, 2]
