"""Folders for one user alone, whatever the umask: the state folder, and a short one for sockets and locks.

Who could enter them could take over a run or forge one.
"""

import os
import stat
from pathlib import Path

from tradeschool.errors import StoreUnwritable

PRIVATE = 0o700
OTHERS_WRITE = 0o002


def runtime_folder() -> Path:
    """`/tmp/tradeschool-UID`, for sockets and locks: short, and the same for all of the user's processes.

    It is made where it is missing. It does not depend on the environment, because two processes have to find the same
    one.

    Raises:
        StoreUnwritable: where it cannot be made, or another user has made it.
    """
    folder = Path("/tmp") / f"tradeschool-{os.getuid()}"  # noqa: S108  # owner and kind are checked below
    try:
        folder.mkdir(mode=PRIVATE, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            folder.chmod(PRIVATE)
            return folder
    except FileExistsError:
        pass  # a file or a link to nowhere
    except OSError as error:
        raise StoreUnwritable(f"cannot make {folder}: {error.strerror}") from error
    raise StoreUnwritable(f"{folder} is not a folder of this user: remove it")


def make_private(folder: Path) -> None:
    """Make a folder where there is none, for its owner alone; one that is there stays as it is.

    Raises:
        OSError: where it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE, exist_ok=True)


def let_no_stranger_write() -> None:
    """Take the right to write from everybody outside the group, for every file that is made from now on."""
    os.umask(os.umask(0o077) | OTHERS_WRITE)
