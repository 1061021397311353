"""An S3 server on this machine, moto's, which s3fs and worker processes find by the environment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class S3:
    """What another process sees and does there: its client is not s3fs."""

    client: Any

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket="bucket", Key=key)["Body"].read())

    def take(self, key: str) -> None:
        self.client.delete_object(Bucket="bucket", Key=key)

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket="bucket").get("Contents", [])
        return [entry["Key"] for entry in found]

    def buckets(self) -> list[str]:
        return [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]


@pytest.fixture(scope="session")
def _s3_client() -> Iterator[Any]:
    pytest.importorskip("s3fs", reason="S3 is reached by s3fs")
    server = pytest.importorskip("moto.server", reason="the S3 server of the tests is moto's")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # each request
    serving = server.ThreadedMotoServer("127.0.0.1", port=0)
    serving.start()
    host, port = serving.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield pytest.importorskip("boto3").client("s3")
        serving.stop()


@pytest.fixture
def s3(_s3_client: Any) -> Iterator[S3]:
    """One empty bucket, ``bucket``."""
    store = S3(_s3_client)
    _s3_client.create_bucket(Bucket="bucket")
    yield store
    for name in store.names():
        store.take(name)
    for name in store.buckets():
        _s3_client.delete_bucket(Bucket=name)
