"""Private folders (mode 0700): the state folder, and a folder with a short path for sockets and locks.

Another user with access to them could take over or forge a run.
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
    """Return the folder for sockets and locks, which has a short path and is shared by all processes of the user.

    It is `/tmp/tradeschool-UID`, created if missing; if another user owns that path, `.cache/tradeschool-run` in the
    user's home folder. It does not depend on the environment, because two processes must find the same folder.

    Raises:
        StoreUnwritable: if neither folder can be created.
    """
    folders = [Path("/tmp") / f"tradeschool-{os.getuid()}"]  # noqa: S108  # owner and kind are checked below
    with suppress(KeyError):  # a user without an entry, as in some containers
        folders.append(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "tradeschool-run")
    for folder in folders:
        if _is_ours(folder):
            return folder
    tried = " nor ".join(map(str, folders))
    raise StoreUnwritable(f"neither {tried} can be created or belongs to this user: remove what exists there")


def _is_ours(folder: Path) -> bool:
    """Create the folder if it is missing; return whether this user owns it and made it private."""
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
    """Create a folder with mode 0700; an existing folder is left unchanged.

    Raises:
        OSError: if the folder cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE, exist_ok=True)


def deny_other_writers() -> None:
    """Extend the umask so that files created from now on are not writable by other users."""
    os.umask(os.umask(0o077) | OTHERS_WRITE)
