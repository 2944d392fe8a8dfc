"""One S3 server per module."""

from collections.abc import Iterator

import pytest

from tests.factories.buckets import S3, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as made:
        yield made


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    """The server without faults, also after a test."""
    yield server
    server.faults.coming, server.faults.always, server.faults.methods = [], "", ("GET", "PUT", "HEAD")
    server.faults.seen.clear()
