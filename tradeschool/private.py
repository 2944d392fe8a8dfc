"""The folder of this user for sockets and locks: short, private, and the same for all of the user's processes."""

import os
import stat
from pathlib import Path

from tradeschool.errors import StoreUnwritable

PRIVATE = 0o700


def runtime_folder() -> Path:
    """`/tmp/tradeschool-UID`, made where it is missing.

    It does not depend on the environment, because two processes have to find the same one.

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
