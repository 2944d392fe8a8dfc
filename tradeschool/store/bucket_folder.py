"""A store's part of a bucket, of which its local root has the seals and the instruments.

    <url>/objects/ab12...parquet                                       candles, named by digest, never changed
    <url>/datasets/coinbase/BTC-USD/M5/20200101-20240101.seal.json     seal, written last, replaced only if unchanged
    <url>/datasets/instruments.json                                    instruments of providers and users
    <url>/holdout/...                                                  the same of the holdout period

Every write is conditional, so of two fetchers that write the same seal the second is told. A removed seal is an empty
object, because a deletion cannot be conditional. Page ledger, locks and status of a download are local files.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tradeschool.atomic_files import publish
from tradeschool.errors import ForeignFile, SealConflict, ServiceUnreachable, StorageRefused
from tradeschool.markets.instrument_file import FILE_NAME, merge_into
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.object_storage.cache import ObjectCache
from tradeschool.object_storage.client import ObjectChanged, ObjectClient, ObjectInfo, ObjectMissing, ObjectTooLarge
from tradeschool.object_storage.file_lock import locked
from tradeschool.object_storage.helper import HelperClient, client_of
from tradeschool.store.bucket_index import BucketIndex
from tradeschool.store.seal import PartFile, Seal, seal_path, seal_text

LOCK_NAME = ".bucket.lock"
STALE_SECONDS = 3_600.0
"""Age up to which the local copy of the seals is used while the bucket does not answer; candles have digests."""
LARGEST_TEXT = 32 << 20
"""Bytes of a seal or of the instruments at most."""
KNOWN_KEY = re.compile(r"(?:(?:[A-Za-z0-9][A-Za-z0-9_.-]*/){3}[A-Za-z0-9][A-Za-z0-9_-]*\.seal\.json|instruments\.json)")
"""Keys that are copied; no other one becomes a local path."""
OBJECT_KEY = re.compile(r"objects/([0-9a-f]{64})\.parquet")

log = logging.getLogger(__name__)


class BucketFolder:
    """The datasets below one folder of a bucket."""

    def __init__(self, location: DataLocation) -> None:
        assert location.bucket is not None
        self._config, self._location = location.bucket, location
        self._root, self._section = location.root, location.section
        self._index = BucketIndex(self._root)
        self._cache = ObjectCache(self._config.cache_dir, self._config.cache_bytes)

    def __str__(self) -> str:
        return str(self._location)

    def refresh(self, *, at_once: bool = False) -> None:
        """Compare the local copy of the seals with the bucket, unless a process has done so a few seconds ago.

        Raises:
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        if not at_once and self._is_fresh():
            return
        with self._locked():
            if not at_once and self._is_fresh():
                return
            known, found = self._index.versions(), self._listed(at_once=at_once)
            if found is None:
                return
            for key, info in found.items():
                if known.get(key) != info.version or (not (self._root / key).exists() and info.size):
                    known[key] = self._copy(key)
            for key in set(known) - set(found):
                del known[key]
                self._forget(key)
            self._index.write(known, is_compared=True)

    @contextmanager
    def opened(self, folder: Path, file: PartFile) -> Iterator[Path]:
        """Yield the path of an intact local copy of a file, which is downloaded once per machine.

        Raises:
            ForeignFile: if the bucket does not have the file, or has other content.
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        key = object_key(file.sha256)

        def download(path: Path) -> str:
            try:
                return self._reader().download(key, path, file.bytes)
            except ObjectMissing:
                raise self._lost(file) from None
            except ObjectTooLarge as error:
                raise ForeignFile(f"{error}; run: tradeschool data verify") from None

        with self._cache.opened(file.sha256, download, file.bytes) as path:
            yield path

    def check(self, folder: Path, file: PartFile) -> None:
        """Check that the bucket has a file with its size; its content is checked when it is read.

        Raises:
            ForeignFile: if it does not.
        """
        if self._cache.has(file.sha256):
            with self.opened(folder, file):  # reads it from the bucket again if the copy is damaged
                return
        size = self._reader().size(object_key(file.sha256))
        if size is None:
            raise self._lost(file)
        if size != file.bytes:
            raise ForeignFile(f"{self}: {object_key(file.sha256)} has {size:,} bytes, its seal lists {file.bytes:,}")

    def verify(self, folder: Path, file: PartFile) -> None:
        """Read a file from the bucket, not from the cache, and check its digest.

        Raises:
            ForeignFile: if it is missing or has other content.
        """
        path = self._root / f".verify-{os.getpid()}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            found = self._reader().download(object_key(file.sha256), path, file.bytes)
        except ObjectMissing:
            raise self._lost(file) from None
        except ObjectTooLarge as error:
            raise ForeignFile(str(error)) from None
        finally:
            path.unlink(missing_ok=True)
        if found != file.sha256:
            raise ForeignFile(
                f"{self}: {object_key(file.sha256)} has other content (sha256 {found[:12]}...): remove the object and "
                "run the fetch or the import again"
            )

    def keep(self, path: Path, file: PartFile) -> None:
        """Write a file to the bucket, unless the bucket has it, and move it to the cache."""
        client, key = self._writer(), object_key(file.sha256)
        try:
            client.create(key, path)
        except ObjectChanged:  # of another fetcher, of an earlier attempt, or of a request whose answer was lost
            if client.size(key) != file.bytes:
                raise ForeignFile(f"{self}: {key} has another size; remove the object and try again") from None
        self._cache.add(path, file.sha256)

    def write_seal(self, folder: Path, seal: Seal) -> None:
        """Write a seal, unless another fetcher has written one for the same candles.

        Raises:
            SealConflict: if another fetcher has sealed other candles of the range.
        """
        key, text = self._local_key(seal_path(folder, seal.window)), seal_text(seal)
        with self._locked():
            known = self._index.versions()
            self._push_instruments(known)
            try:
                version = self._write(key, text.encode(), known.get(key))
            except ObjectChanged:
                text, version = self._adopted(key, seal, text)
            self._write_local(key, text.encode())
            self._index.write({**known, key: version})

    def discard(self, paths: Sequence[Path]) -> None:
        """Replace seals by empty objects; a seal that has changed since it was read is kept."""
        with self._locked():
            for path in paths:
                self._discard(self._local_key(path))

    def _discard(self, key: str) -> None:
        known = self._index.versions()
        if version := known.get(key):
            try:
                known[key] = self._writer().replace(key=self._key(key), content=b"", version=version)
                self._forget(key)
            except ObjectChanged:
                log.warning("Seal has changed and is kept", extra={"action": "seal_kept", "key": key})
                known[key] = self._copy(key)
            self._index.write(known)

    def unlisted(self, listed: set[str]) -> list[ObjectInfo]:
        """Return the candle objects whose digest is not in `listed`."""
        found = self._reader().listing("objects")
        return [each for each in found if not (name := OBJECT_KEY.fullmatch(each.key)) or name[1] not in listed]

    def _adopted(self, key: str, seal: Seal, text: str) -> tuple[str, str]:
        """Return text and version of the seal that another fetcher has written, if its candles are the same."""
        body, version = self._reader().read(self._key(key), LARGEST_TEXT)
        if not body:
            return text, self._writer().replace(self._key(key), text.encode(), version)
        with suppress(ValueError):
            if (theirs := Seal.model_validate_json(body)).has_candles_of(seal):
                log.info("Sealed by another fetcher", extra={"action": "seal_adopted", "dataset": theirs.dataset})
                return body.decode(), version
        raise SealConflict(
            f"{self}: another fetcher has sealed {seal.dataset} {seal.window} with other candles; its seal is kept; "
            f"to replace it run: tradeschool data repair {seal.dataset}"
        )

    def _write(self, key: str, content: bytes, version: str | None) -> str:
        """Create an object, or replace the version that is known."""
        if version:
            with suppress(ObjectMissing):  # somebody has deleted it
                return self._writer().replace(self._key(key), content, version)
        return self._writer().create(self._key(key), content)

    def _push_instruments(self, known: dict[str, str]) -> None:
        """Write the local instruments to the bucket if they differ; other machines need them to read the seal."""
        path = self._root / FILE_NAME
        while path.exists():
            with suppress(ObjectMissing):
                body, known[FILE_NAME] = self._reader().read(self._key(FILE_NAME), LARGEST_TEXT)
                merge_into(self._root, body)
                if path.read_bytes() == body:
                    return
            with suppress(ObjectChanged):
                known[FILE_NAME] = self._write(FILE_NAME, path.read_bytes(), known.get(FILE_NAME))
                return

    def _copy(self, key: str) -> str:
        """Copy an object to the local root and return its version."""
        try:
            body, version = self._reader().read(self._key(key), LARGEST_TEXT)
        except (ObjectMissing, ObjectTooLarge) as error:
            log.warning("Object not copied", extra={"action": "not_copied", "key": key, "reason": str(error)})
            return ""
        if key == FILE_NAME:
            merge_into(self._root, body)
        elif body:
            self._write_local(key, body)
        else:
            self._forget(key)
        return version

    def _listed(self, *, at_once: bool) -> Mapping[str, ObjectInfo] | None:
        """Return the objects of the section, None if the bucket does not answer and the local copy is young enough."""
        try:
            found = self._reader().listing(self._section)
        except StorageRefused:
            raise
        except ServiceUnreachable as error:
            age = self._index.age()
            if at_once or age is None or age > STALE_SECONDS:
                raise
            log.warning("%s; using the seals of %.0f s ago", error, age, extra={"action": "stale_seals"})
            return None
        keys = {each.key.removeprefix(f"{self._section}/"): each for each in found}
        return {key: info for key, info in keys.items() if KNOWN_KEY.fullmatch(key)}

    def _local_key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _key(self, key: str) -> str:
        return f"{self._section}/{key}"

    def _lost(self, file: PartFile) -> ForeignFile:
        return ForeignFile(
            f"{self._config.url}/{object_key(file.sha256)}: missing, but a seal lists it; "
            "run tradeschool data repair, then fetch or import the range again"
        )

    def _reader(self) -> ObjectClient | HelperClient:
        return client_of(self._config)

    def _writer(self) -> ObjectClient:
        return ObjectClient(self._config)

    def _is_fresh(self) -> bool:
        age = self._index.age()
        return age is not None and age < self._config.refresh_seconds

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._root / LOCK_NAME, f"reading the seals of {self}")

    def _write_local(self, key: str, body: bytes) -> None:
        publish(self._root, self._root / key, lambda temporary: _write_bytes(temporary, body))

    def _forget(self, key: str) -> None:
        if key != FILE_NAME:
            (self._root / key).unlink(missing_ok=True)


def object_key(digest: str) -> str:
    """Return the key of a candle file."""
    return f"objects/{digest}.parquet"


def _write_bytes(path: Path, body: bytes) -> None:
    path.write_bytes(body)
