"""What several test modules share: one cluster of two worker processes, started when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client

from daskresearch import shutdown
from tests.support.running import local_cluster

pytest.register_assert_rewrite(
    "tests.support.contracts", "tests.support.crashing", "tests.support.hostile"
)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Give a Client of two single-thread worker processes, which is not the default of the process."""
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        yield client
        shutdown()  # two clusters must close in turn, or distributed's logs speak up
