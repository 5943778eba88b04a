"""What test modules share: a cluster of two workers, and the mark of tests that start workers."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NoReturn

import pytest
from distributed import Client, SpecCluster, Worker
from hypothesis import HealthCheck, settings

from daskresearch import shutdown
from tests.support.clusters import Servers
from tests.support.running import local_cluster

pytest.register_assert_rewrite(
    "tests.support.contracts", "tests.support.crashing", "tests.support.hostile"
)

# how long an example takes depends on the machine; CI judges the same examples each time
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

_STARTS_WORKERS = re.compile(r"local_cluster\(|LocalCluster\(|Client\(\)|\bworkers=[2-9]")


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Give a Client of two single-thread worker processes, not the default of the process."""
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        yield client
        shutdown()  # two clusters must close in turn, or distributed's logs speak up


@pytest.fixture
def few_objects() -> Iterator[None]:
    """Hide what is there from the garbage collector, which is quick then."""
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests as `cluster` that use the fixture `client`, and doctests that start workers."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            starts = any(_STARTS_WORKERS.search(example.source) for example in item.dtest.examples)
        else:
            starts = "client" in getattr(item, "fixturenames", ())
        if starts:
            item.add_marker("cluster")


def pytest_configure(config: pytest.Config) -> None:
    """Without the tests of the mark `cluster`, let a test fail that starts workers."""
    if "not cluster" not in config.getoption("markexpr"):
        return

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("this test starts worker processes: mark it with pytest.mark.cluster")

    start = SpecCluster.__init__

    def start_in_threads(cluster: SpecCluster, *args: Any, **options: Any) -> None:
        specs = [*(options.get("workers") or {}).values(), options.get("worker") or {}]
        if any(spec.get("cls") is not Worker for spec in specs if spec):
            refuse()
        start(cluster, *args, **options)

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(SpecCluster, "__init__", start_in_threads)
    for starter in (ProcessPoolExecutor, Servers):
        patch.setattr(starter, "__init__", refuse)
