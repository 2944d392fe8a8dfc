"""Folders for one user alone, whatever the umask: the state folder, and a short one for sockets and locks.

Who could enter them could take over a run or forge one.
"""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from tradeschool.errors import StoreUnwritable

PRIVATE = 0o700
OTHERS_WRITE = 0o002


def runtime_folder() -> Path:
    """A folder for sockets and locks: short, and the same for all of the user's processes.

    `/tmp/tradeschool-UID`, made where it is missing; where another user has made it, `.cache/tradeschool-run` in the
    user's home folder. It does not depend on the environment, because two processes have to find the same one.

    Raises:
        StoreUnwritable: where neither can be made.
    """
    folders = [Path("/tmp") / f"tradeschool-{os.getuid()}"]  # noqa: S108  # owner and kind are checked below
    with suppress(KeyError):  # a user without an entry, as in some containers
        folders.append(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "tradeschool-run")
    for folder in folders:
        if _is_ours(folder):
            return folder
    tried = " nor ".join(map(str, folders))
    raise StoreUnwritable(f"neither {tried} is a folder of this user, or can be made: remove what is there")


def _is_ours(folder: Path) -> bool:
    """Whether it is there, for this user alone; it is made where nothing is."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=PRIVATE, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        folder.chmod(PRIVATE)
    except OSError:
        return False
    return True


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
