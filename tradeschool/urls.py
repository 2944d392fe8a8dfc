"""Addresses of services: made from paths, and as they may be shown."""

import re
from pathlib import Path
from urllib.parse import quote


def sqlite_url(path: Path) -> str:
    """SQLAlchemy's URL of a SQLite file; each character of the path that means something in a URL is quoted."""
    return f"sqlite:///{quote(str(path), safe='/')}"


def mask_url(url: str) -> str:
    """The URL without its password, fit to be shown; one that holds a raw `@` or `/` is hidden whole too."""
    if not re.match(r"[a-z0-9+]+://", url):
        return "..."
    without_option = re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^/@]*?:).*(@)", r"\1***\2", without_option)
