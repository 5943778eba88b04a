"""What tests of stores share: a results folder in every kind of place, also S3."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACES = ("local", "memory", "s3")


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Give the URL of a bucket, whose server is in the environment of new processes."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        import s3fs

        s3fs.S3FileSystem().mkdir("researches")
        yield "s3://researches"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()


@pytest.fixture(params=PLACES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a results folder that does not exist yet, in one place after the other."""
    return str(tmp_path / "results") if request.param == "local" else remote_url(request)


@pytest.fixture(params=PLACES[1:])
def remote(request: pytest.FixtureRequest) -> str:
    """Give the URL of a results folder that is not there yet, in each remote place."""
    return remote_url(request)


def remote_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a folder that no other test has."""
    place = "memory:/" if request.param == "memory" else request.getfixturevalue("s3_url")
    return f"{place}/{uuid.uuid4().hex}"


@pytest.fixture
def local(tmp_path: Path) -> str:
    """Give the path of a local results folder that does not exist yet."""
    return str(tmp_path / "results")
