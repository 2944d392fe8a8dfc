"""Client of one bucket folder: read, conditionally write and list objects, with bounded retries.

It never deletes an object. It must not be used in a process that forks; see `tradeschool.object_storage.helper`.
"""

import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tradeschool.errors import ServiceUnreachable, SettingsError, StorageRefused
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.failures import Failure
from tradeschool.object_storage.waiting import announced, still_waiting

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between two attempts, growing from the first to the longest, with jitter."""
READ_SECONDS = 30
"""Time without a byte after which a transfer counts as cut."""
TRANSFER_SECONDS = 1_800
CHUNK_BYTES = 1 << 20
EXTRA = "object-storage"

Result = TypeVar("Result")
log = logging.getLogger(__name__)


ENDPOINT_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables with the URL of another server; an `http://` one has to be allowed to the library."""


class ObjectMissing(Exception):
    """There is no object of that name."""


class ObjectChanged(Exception):
    """A condition of a write is not met: the object exists, or is no longer the version that was read."""


class ObjectTooLarge(Exception):
    """An object is larger than its reader allows."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int
    version: str
    """ETag."""


class ObjectClient:
    """Objects below the prefix of a bucket URL; keys are relative to it."""

    def __init__(self, config: BucketConfig) -> None:
        """Raises SettingsError if the library is not installed."""
        self.url, self._patience = config.url, config.patience_seconds
        self._store = _store_of(config)

    def read(self, key: str, largest: int) -> tuple[bytes, str]:
        """Return an object of at most `largest` bytes and its version.

        Raises:
            ObjectMissing, ObjectTooLarge, ServiceUnreachable.
        """

        def read() -> tuple[bytes, str]:
            parts: list[bytes] = []
            meta = self._stream(key, parts.append, largest)
            return b"".join(parts), meta["e_tag"] or ""

        return self._attempt(f"reading {self.url}/{key}", read)

    def download(self, key: str, path: Path, largest: int) -> str:
        """Write an object to a new file and return the SHA-256 digest of its content; raises as `read`."""

        def download() -> str:
            digest = hashlib.sha256()
            with path.open("wb") as file:

                def write(chunk: bytes) -> None:
                    digest.update(chunk)
                    file.write(chunk)

                self._stream(key, write, largest)
            return digest.hexdigest()

        return self._attempt(f"downloading {self.url}/{key}", download)

    def create(self, key: str, content: bytes | Path) -> str:
        """Write an object that must not exist and return its version.

        Raises:
            ObjectChanged: if it exists; after a cut connection, the earlier attempt may have written it.
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        return self._put(key, content, "create")

    def replace(self, key: str, content: bytes, version: str) -> str:
        """Replace an object if it still has the version, and return the new one; raises as `create`."""
        return self._put(key, content, {"e_tag": version})

    def size(self, key: str) -> int | None:
        """Return the size of an object, None if there is none."""
        import obstore

        try:
            return int(self._attempt(f"checking {self.url}/{key}", lambda: obstore.head(self._store, key))["size"])
        except ObjectMissing:
            return None

    def listing(self, folder: str) -> list[ObjectInfo]:
        """Return all objects below a folder."""
        import obstore

        def found() -> Iterator[ObjectInfo]:
            for batch in obstore.list(self._store, folder):
                for each in batch:
                    yield ObjectInfo(each["path"], each["size"], each["e_tag"] or "")

        try:
            return self._attempt(f"listing {self.url}/{folder}", lambda: list(found()))
        except ObjectMissing:
            raise StorageRefused(f"{self.url}: no bucket {self.url.bucket}; create it, or correct data_dir") from None

    def _stream(self, key: str, write: Callable[[bytes], object], largest: int) -> Any:
        """Pass an object to `write` in parts; return its metadata."""
        import obstore

        result = obstore.get(self._store, key)
        if result.meta["size"] > largest:
            raise ObjectTooLarge(f"{self.url}/{key}: {result.meta['size']:,} bytes, expected at most {largest:,}")
        received = 0
        for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            received += len(chunk)
            write(bytes(chunk))
        if received != result.meta["size"]:
            raise ConnectionError(f"cut after {received:,} of {result.meta['size']:,} bytes")
        return result.meta

    def _put(self, key: str, content: bytes | Path, mode: Any) -> str:
        import obstore

        def put() -> str:
            body = content.read_bytes() if isinstance(content, Path) else content
            return obstore.put(self._store, key, body, mode=mode, use_multipart=False)["e_tag"] or ""

        return self._attempt(f"writing {self.url}/{key}", put)

    def _attempt(self, action: str, request: Callable[[], Result]) -> Result:
        """Send a request until it succeeds, its failure is permanent, or the patience ends."""
        with announced(action):
            end, pause = time.monotonic() + self._patience, FIRST_PAUSE
            while True:
                failure = self._failure_of(request)
                if not isinstance(failure, Failure):
                    return failure[0]
                if not failure.may_pass:
                    raise failure.refusal(self.url)
                left = end - time.monotonic()
                if left <= 0:
                    raise ServiceUnreachable(
                        f"{self.url}: {action.partition(' ')[0]} failed for {self._patience:g} s: {failure.reason}; "
                        "check that the server can be reached, and run the same command again"
                    )
                log.info("object storage fails", extra={"action": "object_storage_retry", "reason": failure.reason})
                _sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311  # not a secret
                pause = min(2 * pause, LONGEST_PAUSE)

    def _failure_of(self, request: Callable[[], Result]) -> Failure | tuple[Result]:
        """Send a request once; return why it failed, or its result."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            return (request(),)
        except (AlreadyExistsError, PreconditionError) as error:
            raise ObjectChanged from error
        except FileNotFoundError as error:
            failure = Failure.of(error)
            if failure.code == "NoSuchBucket":
                return failure
            raise ObjectMissing from error
        except (BaseError, ConnectionError) as error:
            return Failure.of(error)


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        still_waiting()


def _endpoint_of(config: BucketConfig) -> str:
    """Return the URL of the server: of the settings, or of the variables that the library reads; empty for none."""
    given = (os.environ.get(name, "") for name in ENDPOINT_VARIABLES.get(config.url.scheme, ()))
    return config.endpoint or next(filter(None, given), "")


@cache
def _store_of(config: BucketConfig) -> "ObjectStore":
    """Return the library's client, one per configuration, because it keeps connections open."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError as error:
        raise SettingsError(
            f"data_dir {config.url}: the package obstore is missing; run: pip install tradeschool-curriculum[{EXTRA}]"
        ) from error
    common: dict[str, Any] = {
        "prefix": config.url.prefix or None,
        "client_options": {
            "timeout": timedelta(seconds=TRANSFER_SECONDS),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "connect_timeout": timedelta(seconds=10),
            **({"allow_http": True} if _endpoint_of(config).startswith("http://") else {}),
        },
        "retry_config": {"max_retries": 0},  # `_attempt` repeats and says so
    }
    given = {
        "endpoint": config.endpoint,
        "region": config.region,
        "access_key_id": config.access_key_id,
        "secret_access_key": config.secret_access_key,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    try:
        match config.url.scheme:
            case "s3":
                return S3Store(config.url.bucket, **common, **options)
            case "gs":
                return GCSStore(config.url.bucket, **common)
            case _:
                endpoint: dict[str, Any] = {"endpoint": config.endpoint} if config.endpoint else {}
                return AzureStore(config.url.bucket, **common, **endpoint)
    except (BaseError, ValueError, TypeError) as error:  # what the environment contains
        raise SettingsError(
            f"data_dir {config.url}: {Failure.of(error).reason}; see docs/how-to/object-storage.md"
        ) from None
