"""The user's cache folder, which holds machine code: where the system keeps caches."""

import os
import sys
from pathlib import Path

NAME = "tradeschool"


def user_cache_folder() -> Path | None:
    """Return `$XDG_CACHE_HOME/tradeschool` if set, else the system's cache folder; None without a home folder.

    That is `~/Library/Caches` on macOS and `~/.cache` elsewhere.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / NAME
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache") / NAME
