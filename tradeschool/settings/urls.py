"""URL helpers: build SQLite URLs and mask passwords for display."""

import re
from pathlib import Path
from urllib.parse import quote


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file; characters with a meaning in URLs are percent-encoded."""
    return f"sqlite:///{quote(str(path), safe='/')}"


def mask_url(url: str) -> str:
    """Return the URL with its password masked; a password with an unescaped `@` or `/` is masked completely, too."""
    if not re.match(r"[a-z0-9+.-]+://", url):
        return "..."
    without_option = re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^/@]*?:).*(@)", r"\1***\2", without_option)
