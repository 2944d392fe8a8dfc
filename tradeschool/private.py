"""Folders that nobody but their owner may enter, whatever the umask: who can, could take over a run or forge one."""

import os
from pathlib import Path

OTHERS_WRITE = 0o002


def make_private(folder: Path) -> None:
    """Make a folder where there is none, for its owner alone; one that is there stays as it is.

    Raises:
        OSError: where it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def let_no_stranger_write() -> None:
    """Take the right to write from everybody outside the group, for every file that is made from now on."""
    os.umask(os.umask(0o077) | OTHERS_WRITE)
