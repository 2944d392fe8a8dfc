"""URL of a folder in a bucket, such as `s3://bucket/prefix`."""

import re
from dataclasses import dataclass

from tradeschool.errors import SettingsError

SCHEMES = ("s3", "gs", "az")
"""Amazon S3 and compatible servers, Google Cloud Storage, Azure Blob Storage."""
EXAMPLE = "s3://bucket/prefix"
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
SEGMENT = re.compile(r"[A-Za-z0-9_.=-]+")


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A folder in a bucket; `str` returns its URL."""

    scheme: str
    bucket: str
    prefix: str = ""
    """Folder in the bucket, without slashes at its ends; empty for the whole bucket."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def folder_name(self) -> str:
        """Name of a local folder that belongs to this URL alone."""
        return "+".join((self.scheme, self.bucket, *filter(None, self.prefix.split("/"))))


def is_bucket_url(text: str) -> bool:
    """Whether a text is meant as the URL of a bucket, valid or not."""
    return "://" in text


def parse_bucket_url(text: str) -> BucketUrl:
    """Parse a URL.

    Raises:
        SettingsError: if the scheme is unknown, or bucket or prefix are invalid.
    """
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in SCHEMES:
        raise SettingsError(f"scheme {scheme[:20]!r}: expected one of {', '.join(SCHEMES)}, as in {EXAMPLE}")
    if not BUCKET.fullmatch(bucket):
        raise SettingsError(
            f"bucket {bucket.rpartition('@')[2][:80]!r}: expected 3 to 63 lower-case letters, digits, dots or dashes, "
            f"as in {EXAMPLE}; credentials belong in the environment"
        )
    segments = prefix.strip("/").split("/") if prefix.strip("/") else []
    if wrong := [each for each in segments if not SEGMENT.fullmatch(each) or each in {".", ".."}]:
        raise SettingsError(f"prefix {wrong[0][:80]!r}: expected letters, digits and _ . = -, as in {EXAMPLE}")
    return BucketUrl(scheme, bucket, "/".join(segments))
