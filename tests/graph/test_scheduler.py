"""A cluster of other processes, of which none has the user's module: as on a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client

from daskresearch import EC, Domain, E, O, Option, Research
from tests.support.running import noted, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

MODULE = """
import enum
from dataclasses import dataclass

SCALE = 10


class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclass(frozen=True)
class Model:
    kind: Kind
    width: int

    def size(self):
        return scaled(self.width) + self.kind.value


def scaled(x):
    return SCALE * x


def load(path):
    with open(path, "a") as file:
        file.write("load\\n")
    return [1, 2]


def train(data, model, function):
    return sum(data) + model.size() + function(1)


def kind_of(model):
    return model.kind.name


class Walk:
    def __init__(self, start):
        self.at = start

    def step(self):
        self.at = scaled(self.at)
        return self.at
"""


@pytest.fixture(scope="module")
def lone_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Give a Client of a scheduler and two workers that start in a folder of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
    commands = [
        ["scheduler", *options, "--port", "0"],
        *[["worker", *options, "--nthreads", "1", "--no-nanny"] for _ in range(2)],
    ]
    processes = []
    try:
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            processes.append(process)
            wait_for(file.exists)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            yield client
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a module of the user's that this process alone can import."""
    (tmp_path / "lone_user_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import lone_user_module

    yield lone_user_module
    del sys.modules["lone_user_module"]


def research_of(user: Any, path: str) -> Research:
    """Return a research with functions, arguments and values of the user's module."""
    models = [user.Model(user.Kind.SMALL, 1), user.Model(user.Kind.LARGE, 2)]
    return (
        Research(domain=Domain(model=models, function=[user.scaled, abs]))
        .add_callable(user.load, args=[path], root=True)
        .add_callable(user.kind_of, args=[EC("model")], root=True, save_to="kind")
        .add_callable(user.train, args=[O("load"), EC("model"), EC("function")], save_to="loss")
        .add_instance("walk", user.Walk, start=3)
        .add_callable("walk.step", save_to="step")
    )


def test_no_part_of_a_cluster_needs_the_users_module(user, tmp_path, lone_client):
    missing = lone_client.run_on_scheduler(_is_missing)
    assert missing
    assert all(lone_client.run(_is_missing).values())
    path = str(tmp_path / "calls")
    research = research_of(user, path).options(seed=1, n_iters=2)
    # values of the user's classes come back as copies
    expected = research.compute(scheduler="synchronous").drop(columns=["model", "function"])
    assert list(expected.loss) == [24, 24, 15, 15, 35, 35, 26, 26]
    (frame,) = dask.compute(research, scheduler=lone_client)
    assert frame.drop(columns=["model", "function"]).equals(expected)
    assert (
        research.compute(scheduler=lone_client).drop(columns=["model", "function"]).equals(expected)
    )
    assert noted(path) == ["load"] * 3


def test_groups_in_lock_step_travel_too(user, lone_client):
    research = Research(domain=Option("model", [user.Model(user.Kind.SMALL, i) for i in (1, 2, 3)]))
    research = research.add_instance("walk", user.Walk, root=True, start=1).add_callable(
        "walk.step", root=True
    )
    research = research.add_callable(
        "size", lambda model, at: model.size() + at, args=[EC("model"), O("walk.step")], save_to="y"
    )
    research = research.add_callable(
        "draw", lambda random: float(random.random()), args=[E().random], save_to="u"
    )
    research = research.options(n_iters=3, branches=2, seed=3)
    (frame,) = dask.compute(research, scheduler=lone_client)
    expected = research.compute(scheduler="synchronous")
    assert frame[["id", "iteration", "y", "u"]].equals(expected[["id", "iteration", "y", "u"]])


def _is_missing() -> bool:
    import importlib.util

    return importlib.util.find_spec("lone_user_module") is None
