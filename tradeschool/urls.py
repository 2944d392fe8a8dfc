"""Addresses, as they may be shown."""

import re


def mask_url(url: str) -> str:
    """The URL without its password, fit to be shown; one that holds a raw `@` or `/` is hidden whole too."""
    if not re.match(r"[a-z0-9+]+://", url):
        return "..."
    without_option = re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^/@]*?:).*(@)", r"\1***\2", without_option)
