"""What the tasks of a graph take of the resources of workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client, SpecCluster

from daskresearch import EC, O, Option, Research, local_cluster
from daskresearch.errors import OptionError
from tests.support.running import saying


@pytest.fixture(scope="module")
def cluster() -> Iterator[SpecCluster]:
    """Give a cluster of one worker with a GPU and two threads."""
    with local_cluster(1, gpus=["fake"], threads=2) as cluster:
        yield cluster


def alone(place: str, x: int) -> int:
    """Return a value, unless another does so at the same time."""
    path = Path(place) / "held"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    time.sleep(0.01)
    path.unlink()
    return x


@pytest.mark.cluster
@pytest.mark.parametrize("n_branches", [1, 2])
def test_tasks_of_experiments_take_what_units_ask_for(cluster, tmp_path, n_branches):
    domain = Option("x", list(range(12)))
    research = Research(domain=domain).alone(
        str(tmp_path), EC("x"), save_to="y", resources={"GPU": 1}
    )
    with Client(cluster, set_as_default=False) as client:
        frame, other = dask.compute(
            research.options(branches=n_branches), research.options(seed=2), scheduler=client
        )
    assert frame.y.tolist() == other.y.tolist() == list(range(12))


@pytest.mark.cluster
def test_tasks_of_roots_take_what_roots_ask_for(cluster, tmp_path):
    domain = Option("x", list(range(12)))
    research = Research(domain=domain).alone(
        str(tmp_path), EC("x"), root=True, resources={"GPU": 1}
    )
    research = research.add_callable(
        "add", lambda one, x: one + x, args=[O("alone"), EC("x")], save_to="y"
    )
    with Client(cluster, set_as_default=False) as client:
        frame = dask.compute(research, scheduler=client)[0]
    assert frame.y.tolist() == list(range(0, 24, 2))


@pytest.mark.parametrize(
    "options", [{"devices": [0]}, {"device_share": 0.5}, {"memory_ratio": 0.5}]
)
def test_graphs_refuse_devices_of_given_ids(options):
    research = Research(domain=Option("x", [1])).add_callable(
        "pow", pow, args=[EC("x"), 2], save_to="y"
    )
    with pytest.raises(
        OptionError, match=saying(f"{next(iter(options))}=", "run()", "resources={'GPU': 1}")
    ):
        dask.compute(research.options(**options))
