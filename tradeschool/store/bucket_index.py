"""Index of a bucket's local copy: the version of each copied object, and the time of the last comparison."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tradeschool.atomic_files import publish_text

NAME = ".bucket.json"


class BucketIndex:
    """The index file in the local root of a bucket's datasets; a damaged one counts as missing."""

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / NAME

    def versions(self) -> dict[str, str]:
        """Return the version of each copied object by key."""
        versions, _ = self._content()
        return versions

    def age(self) -> float | None:
        """Return the seconds since the last comparison with the bucket, None if there was none."""
        _, compared_at = self._content()
        age = time.time() - compared_at
        return age if compared_at and age >= 0 else None

    def write(self, versions: Mapping[str, str], *, is_compared: bool = False) -> None:
        """Store the versions; `is_compared`: all of them were compared with the bucket just now.

        Raises:
            StoreUnwritable: if the file cannot be written.
        """
        _, compared_at = self._content()
        content = {"versions": dict(versions), "compared_at": time.time() if is_compared else compared_at}
        publish_text(self._root, self._path, json.dumps(content))

    def _content(self) -> tuple[dict[str, str], float]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self._path.read_bytes())
            return dict(content["versions"]), float(content["compared_at"])
        return {}, 0.0
