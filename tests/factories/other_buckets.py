"""Servers of Google Cloud Storage and Azure Blob Storage as far as the product uses them, in this process.

Each follows the provider's REST reference: paths, credentials, conditions of a write and the form of a listing.
"""

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "candles"
TOKEN, ACCOUNT, ACCOUNT_KEY = "a-token", "anaccount", base64.b64encode(b"not-a-secret").decode()
QUOTE = '"'
XML = "<?xml version='1.0'?>"
MODIFIED = "Sun, 06 Nov 2022 08:49:37 GMT"


@dataclass
class Bucket:
    """One bucket or container, and the server that holds it."""

    scheme: str
    url: str = ""
    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Content and generation by key."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    generations: Iterator[int] = field(default_factory=lambda: count(1_700_000_000_000_000))


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@contextmanager
def bucket_server(scheme: str) -> Iterator[Bucket]:
    """Serve one bucket of `gs` or `az` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), {"gs": _Google, "az": _Azure}[scheme])
    server.daemon_threads = True
    bucket = Bucket(scheme, f"http://127.0.0.1:{server.server_port}")
    server.bucket = bucket  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def bucket(self) -> Bucket:
        return self.server.bucket  # type: ignore[attr-defined,no-any-return]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.bucket.seen.append((self.command, self.path))
        parts = urlsplit(self.path)
        container, _, key = unquote(parts.path).lstrip("/").partition("/")
        if not self.is_allowed():
            self.answer(403, self.error("AuthenticationFailed"))
        elif container != BUCKET:
            self.answer(404, self.error(self.no_bucket))
        elif not key and self.command == "GET":
            self.answer(200, self.listing(dict(parse_qsl(parts.query)).get("prefix", "")))
        elif self.command == "PUT":
            self.put(key, body)
        elif key in self.bucket.objects:
            content, _ = self.bucket.objects[key]
            self.answer(200, content, self.facts(key))
        else:
            self.answer(404, self.error(self.no_object))

    def put(self, key: str, body: bytes) -> None:
        if (refusal := self.refusal(key)) is not None:
            self.answer(*refusal)
            return
        self.bucket.objects[key] = (body, next(self.bucket.generations))
        self.answer(201 if self.bucket.scheme == "az" else 200, b"", self.facts(key))

    def error(self, code: str) -> bytes:
        return f"{XML}<Error><Code>{code}</Code><Message>made by a test</Message></Error>".encode()

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    do_GET = do_PUT = do_HEAD = handle_any


class _Google(_Handler):
    """The XML API. Source: https://cloud.google.com/storage/docs/xml-api/reference-headers."""

    no_bucket, no_object = "NoSuchBucket", "NoSuchKey"

    def is_allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def refusal(self, key: str) -> tuple[int, bytes] | None:
        wanted, (_, found) = self.headers.get("x-goog-if-generation-match"), self.bucket.objects.get(key, (b"", 0))
        return None if wanted in (None, str(found)) else (412, self.error("PreconditionFailed"))

    def facts(self, key: str) -> dict[str, str]:
        content, generation = self.bucket.objects[key]
        return {"ETag": etag_of(content), "x-goog-generation": str(generation), "Last-Modified": MODIFIED}

    def listing(self, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Generation>{generation}</Generation><Size>{len(content)}</Size>"
            f"<ETag>{escape(etag_of(content))}</ETag><LastModified>2022-11-06T08:49:37.000Z</LastModified></Contents>"
            for key, (content, generation) in sorted(self.bucket.objects.items())
            if key.startswith(prefix)
        )
        return f"{XML}<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()


class _Azure(_Handler):
    """The REST API. Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""

    no_bucket, no_object = "ContainerNotFound", "BlobNotFound"

    def is_allowed(self) -> bool:
        parts, given = urlsplit(self.path), {name.lower(): value for name, value in self.headers.items()}
        length = given.get("content-length", "0")
        names = ("content-encoding", "content-language", "length", "content-md5", "content-type", "date")
        names += ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
        first = [
            self.command,
            *(({**given, "length": "" if length == "0" else length}).get(name, "") for name in names),
        ]
        own = [f"{name}:{value}" for name, value in sorted(given.items()) if name.startswith("x-ms-")]
        asked = [f"{name}:{value}" for name, value in sorted(parse_qsl(parts.query))]
        text = "\n".join([*first, *own, f"/{ACCOUNT}{parts.path}", *asked])
        signature = hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), "sha256")
        return given.get("authorization") == f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"

    def refusal(self, key: str) -> tuple[int, bytes] | None:
        exists, match = key in self.bucket.objects, self.headers.get("If-Match")
        if self.headers.get("If-None-Match") == "*" and exists:
            return 409, self.error("BlobAlreadyExists")
        if match is not None and (not exists or match != self.facts(key)["ETag"]):
            return 412, self.error("ConditionNotMet")
        return None if self.headers.get("x-ms-blob-type") == "BlockBlob" else (400, self.error("InvalidHeaderValue"))

    def facts(self, key: str) -> dict[str, str]:
        return {
            "ETag": f'"0x{self.bucket.objects[key][1]:X}"',
            "Last-Modified": MODIFIED,
            "Date": formatdate(usegmt=True),
        }

    def listing(self, prefix: str) -> bytes:
        blobs = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{MODIFIED}</Last-Modified>"
            f"<Etag>{self.facts(key)['ETag'].strip(QUOTE)}</Etag><Content-Length>{len(content)}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key, (content, _) in sorted(self.bucket.objects.items())
            if key.startswith(prefix)
        )
        return f"{XML}<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>".encode()
