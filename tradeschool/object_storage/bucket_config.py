"""Access to a bucket, and the place of candles: a local folder, or a bucket with its local copy."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tradeschool.object_storage.bucket_url import BucketUrl

DATASETS = "datasets"
"""Folder of a bucket that contains the seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketConfig:
    """Access to a bucket and the limits of its local cache."""

    url: BucketUrl
    cache_dir: Path
    """Folder of downloaded objects, shared by all processes of the machine."""
    cache_bytes: int
    endpoint: str | None = None
    """URL of a server other than the provider's own."""
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    """Unset, like the other access data: the library reads the usual environment variables."""
    patience_seconds: float = 60.0
    """Time for which a failing request is repeated."""
    refresh_seconds: float = 15.0
    """Age at which the local copy of the seals is compared with the bucket again."""

    def as_json(self) -> dict[str, Any]:
        """Return the configuration for another process of the same user, with its secret."""
        content = asdict(self)
        return content | {"cache_dir": str(self.cache_dir)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "BucketConfig":
        """Restore a configuration from `as_json`."""
        return cls(**{**content, "url": BucketUrl(**content["url"]), "cache_dir": Path(content["cache_dir"])})


@dataclass(frozen=True, slots=True)
class DataLocation:
    """Where candles are: in a local folder, or in a bucket of which that folder has the seals and the page ledger."""

    root: Path
    bucket: BucketConfig | None = None
    section: str = DATASETS
    """Folder of the seals in a bucket."""

    @classmethod
    def of(cls, place: "Path | DataLocation") -> "DataLocation":
        """Return the location of a local folder, or the location itself."""
        return place if isinstance(place, DataLocation) else cls(place)

    def __str__(self) -> str:
        if self.bucket is None:
            return str(self.root)
        return str(self.bucket.url) + ("" if self.section == DATASETS else f"/{self.section}")

    def below(self, section: str) -> "DataLocation":
        """Return the location of separate datasets in a folder of this one."""
        return DataLocation(self.root / section, self.bucket, section)

    def as_json(self) -> dict[str, Any]:
        """Return the location for another process of the same user."""
        return {
            "root": str(self.root),
            "bucket": self.bucket.as_json() if self.bucket else None,
            "section": self.section,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataLocation":
        """Restore a location from `as_json`."""
        bucket = BucketConfig.from_json(content["bucket"]) if content["bucket"] else None
        return cls(Path(content["root"]), bucket, content["section"])
