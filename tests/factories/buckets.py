"""A real S3 server in this process, and a proxy in front of it that fails requests as told."""

import http.client
import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tradeschool.object_storage.bucket_config import BucketConfig, DataLocation
from tradeschool.object_storage.bucket_url import parse_bucket_url

BUCKET = "candles"
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>made by a test</Message></Error>"
REFUSALS = {"ExpiredToken": 400, "InvalidAccessKeyId": 403, "AccessDenied": 403, "InternalError": 500, "SlowDown": 503}


@dataclass
class Faults:
    """The next answers of the proxy, and the requests that it has seen."""

    coming: list[str] = field(default_factory=list)
    """`cut`, `other` (changed content), `lost` (executed, but not answered) or a code of `REFUSALS`, in order."""
    methods: tuple[str, ...] = ("GET", "PUT", "HEAD")
    """Only these methods fail."""
    always: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)

    def next_one(self, method: str, path: str) -> str:
        self.seen.append((method, path))
        if method not in self.methods:
            return ""
        return self.always or (self.coming.pop(0) if self.coming else "")

    def count(self, method: str, part: str) -> int:
        return sum(each == method and part in path for each, path in self.seen)


@dataclass(frozen=True)
class S3:
    """A server with one bucket, behind the proxy."""

    url: str
    faults: Faults
    server: tuple[str, int]

    def config(self, folder: Path, *, prefix: str = "", **more: object) -> BucketConfig:
        """Access to a prefix of its own, with a cache in a folder."""
        given = {
            "url": parse_bucket_url(f"s3://{BUCKET}/{prefix or uuid4().hex}"),
            "cache_dir": folder / "cache",
            "cache_bytes": 100_000_000,
            "endpoint": self.url,
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": "not-a-secret",
            "patience_seconds": 60.0,
            "refresh_seconds": 0.0,
        }
        return BucketConfig(**(given | more))  # type: ignore[arg-type]

    def location(self, folder: Path, **options: object) -> DataLocation:
        return DataLocation(folder / "root", self.config(folder, **options))  # type: ignore[arg-type]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """All objects below a prefix, read without the proxy."""
        keys = [each["path"] for batch in self._library.list(self._direct(), prefix) for each in batch]
        return {key.removeprefix(f"{prefix}/"): self.get(key) for key in keys}

    def get(self, key: str) -> bytes:
        return bytes(self._library.get(self._direct(), key).bytes())

    def put(self, key: str, content: bytes) -> None:
        self._library.put(self._direct(), key, content)

    def delete(self, key: str) -> None:
        self._library.delete(self._direct(), key)

    @property
    def _library(self) -> Any:
        return importlib.import_module("obstore")

    def _direct(self) -> Any:
        """The library's client without the proxy."""
        host, port = self.server
        return importlib.import_module("obstore.store").S3Store(
            BUCKET,
            endpoint=f"http://{host}:{port}",
            region="us-east-1",
            access_key_id="key",
            secret_access_key="not-a-secret",
            client_options={"allow_http": True},
            disable_bulk_delete=True,
            retry_config={"max_retries": 0},
        )


@contextmanager
def s3_server() -> Iterator[S3]:
    """Serve one bucket until the block ends."""
    pytest.importorskip("obstore", reason="no obstore: install tradeschool-curriculum[object-storage]")
    moto = pytest.importorskip("moto.server", reason="no moto: install the group test")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    place = server.get_host_and_port()
    faults = Faults()
    proxy = _Proxy(place, faults)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    made = S3(f"http://127.0.0.1:{proxy.server_port}", faults, place)
    connection = http.client.HTTPConnection(*place)
    connection.request("PUT", f"/{BUCKET}", headers={"Host": "s3.amazonaws.com"})
    assert connection.getresponse().status == 200
    connection.close()
    try:
        yield made
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()


class _Proxy(ThreadingHTTPServer):
    """Passes requests on to the server, except those that fail as told."""

    daemon_threads = True

    def __init__(self, place: tuple[str, int], faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.place, self.faults = place, faults

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients cut connections, too."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.faults.next_one(self.command, self.path)
        if fault in REFUSALS:
            self.answer(REFUSALS[fault], {}, ERROR.format(code=fault).encode(), fault)
            return
        connection = http.client.HTTPConnection(*self.server.place)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "lost":
            self.close_connection = True
            return
        self.answer(answer.status, dict(answer.getheaders()), content, fault)

    def answer(self, status: int, headers: dict[str, str], content: bytes, fault: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        size = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "other":
            content = bytes(each ^ 1 for each in content)
        self.close_connection = fault == "cut"
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

    def log_message(self, *_: object) -> None:
        """Print nothing."""
