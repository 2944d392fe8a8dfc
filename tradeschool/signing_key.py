"""The key with which conductors and workers sign what they send through Redis.

It is what the settings say. Where they say nothing and the server is the embedded one, it is a key of the state
folder's own, which whoever may use that server may read.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings import Settings

NAME = "signing.key"
KEY_BYTES = 32


def signing_key(settings: Settings, *, make: bool = False) -> bytes | None:
    """The key of this installation, None where nothing is signed; `make` has the embedded server's own one made.

    Raises:
        SettingsError: where the key cannot be read, or others may read it.
        StoreUnwritable: where the state folder does not take it.
    """
    if (key := settings.work.key()) or not _is_embedded(settings):
        return key
    path = settings.state_dir / NAME
    if make and not path.exists():
        _make(path)
    return _read(path)


def _is_embedded(settings: Settings) -> bool:
    """Whether the server is that of the state folder; a worker is told its address by who starts it."""
    if settings.redis_url is None:
        return True
    url = settings.redis_url.get_secret_value()
    if not url.startswith("unix://"):
        return False
    from tradeschool.embedded import Valkey  # slow to import, and most commands need no server

    return url == Valkey.of(settings.state_dir).url


def _make(path: Path) -> None:
    """Whole or not at all, and the same for two processes that make it at once: the first one's counts."""
    made = path.with_name(f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(made, path)
        made.unlink()
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}; set state_dir to a folder of yours") from error


def _read(path: Path) -> bytes | None:
    try:
        with path.open() as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}; remove it, and a new one is made") from error
    if mode & 0o077:
        raise SettingsError(f"{path}: others may read it: remove it, and a new one is made")
    if len(text) != 2 * KEY_BYTES:
        raise SettingsError(
            f"{path}: expected {2 * KEY_BYTES} characters, was {len(text)}: remove it, and a new one is made"
        )
    return text.encode()
