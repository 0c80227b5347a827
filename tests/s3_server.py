"""An S3 server on loopback: moto, as a process of its own. tests/conftest.py makes its fixtures known to all tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tool_environments import tool_python

START_TIMEOUT_S = 60


class S3Server:
    """A running server. Whatever it holds goes with it.

    Attributes
    ----------
    endpoint : str
        As http://127.0.0.1:PORT.
    process : subprocess.Popen
        To be killed in the middle of something.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "s3_server.log"
        program = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
        with self.log.open("w") as handle:
            self.process = subprocess.Popen(
                [str(tool_python("moto")), "-c", program], stdout=handle, stderr=subprocess.STDOUT
            )
        self.endpoint = self._wait()

    def _wait(self) -> str:
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", self.log.read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"no S3 server: {self.log.read_text()}")

    def kill(self) -> None:
        """End the process at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def make_bucket(self) -> S3Bucket:
        """Make a bucket of a new name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT"), timeout=10).close()
        return S3Bucket(name=name, prefix="some/prefix", server=self)


@dataclass(frozen=True, kw_only=True)
class S3Bucket:
    """A prefix of an empty bucket of a running server."""

    name: str
    prefix: str
    server: S3Server

    @property
    def url(self) -> str:
        """As s3://BUCKET/PREFIX."""
        return f"s3://{self.name}/{self.prefix}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which any S3 program finds the server."""
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def sizes(self) -> dict[str, int]:
        """Return path below the prefix -> bytes of every object."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            self.name,
            prefix=self.prefix,
            endpoint=self.server.endpoint,
            client_options={"allow_http": True},
            access_key_id="test",
            secret_access_key="test",
            region="us-east-1",
        )
        return {item["path"]: item["size"] for batch in obstore.list(store) for item in batch}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for the session."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def s3_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """An empty bucket; AWS_* variables of this process and its children lead to its server."""
    bucket = s3_server.make_bucket()
    set_environment(bucket, monkeypatch)
    return bucket


@pytest.fixture
def own_s3_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """An empty bucket of a server that the test may kill."""
    server = S3Server(tmp_path)
    bucket = server.make_bucket()
    set_environment(bucket, monkeypatch)
    yield bucket
    server.kill()


def set_environment(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let AWS_* variables lead to a bucket's server, and to nothing else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
