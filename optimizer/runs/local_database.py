"""Refuses a SQLite database on a network file system, whose locks do not protect it.

SQLite's write-ahead log needs memory that all processes share, so it works on one machine only.
"""

import re
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tradeschool.errors import SettingsError
from tradeschool.settings.urls import mask_url

MOUNTS = Path("/proc/self/mountinfo")
"""Mounted file systems; Linux only."""
NETWORK = frozenset(
    [
        "afs",
        "beegfs",
        "ceph",
        "cephfs",
        "cifs",
        "gcsfuse",
        "glusterfs",
        "gpfs",
        "juicefs",
        "lustre",
        "nfs",
        "nfs4",
        "rclone",
        "s3fs",
        "smb3",
        "smbfs",
        "sshfs",
    ]
)
"""Types of network file systems, also with `fuse.` in front."""


def require_local(storage_url: str) -> None:
    """Check that a SQLite database is on a file system of this machine.

    Raises:
        SettingsError: It is on a network file system; names it and the remedy.
    """
    try:
        url = make_url(storage_url)
    except ArgumentError:
        return  # whoever connects reports it
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return
    kind = file_system_of(Path(url.database))
    if kind.removeprefix("fuse.") in NETWORK:
        raise SettingsError(
            f"storage_url {mask_url(storage_url)} is on a network file system ({kind}), where SQLite's locks do not "
            "work: set state_dir to a local folder, or storage_url to a PostgreSQL database"
        )


def file_system_of(path: Path) -> str:
    """Return the type of the file system of a path, such as `ext4`; empty if it is unknown."""
    try:
        lines, place = MOUNTS.read_text().splitlines(), path.absolute().resolve()
    except OSError:
        return ""
    found = ("", "")
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields = head.split()
        if not tail or len(fields) < 5:
            continue
        mount = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if place.is_relative_to(mount) and len(mount) >= len(found[0]):  # a later mount hides an earlier one
            found = (mount, tail.split()[0])
    return found[1]
