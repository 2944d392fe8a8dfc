"""Signing key with which coordinators and workers sign their messages in Redis.

The key comes from the settings. Without one, and with the embedded server, it is a generated key in the state folder,
readable by the user who may use that server.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings.model import Settings

NAME = "signing.key"
KEY_BYTES = 32


def signing_key(settings: Settings, *, make: bool = False) -> bytes | None:
    """Return the signing key of this installation, None if messages are not signed.

    `make` generates the key of the embedded server if it does not exist yet.

    Raises:
        SettingsError: if the key cannot be read, or other users can read it.
        StoreUnwritable: if the key cannot be written to the state folder.
    """
    if (key := settings.work.key()) or not _is_embedded(settings):
        return key
    path = settings.state_dir / NAME
    if make and not path.exists():
        _make(path)
    return _read(path)


def _is_embedded(settings: Settings) -> bool:
    """Return whether the server is the embedded one; a started worker receives its address in `redis_url`."""
    if settings.redis_url is None:
        return True
    url = settings.redis_url.get_secret_value()
    if not url.startswith("unix://"):
        return False
    from tradeschool.embedded_valkey.server import EmbeddedValkey  # slow to import, and most commands need no server

    return url == EmbeddedValkey.of(settings.state_dir).url


def _make(path: Path) -> None:
    """Create the key file atomically; if two processes create it at the same time, the first one wins."""
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
        raise StoreUnwritable(
            f"cannot write {path}: {error.strerror}; set state_dir to a folder that you own"
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        with path.open() as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}; remove it to generate a new one") from error
    if mode & 0o077:
        raise SettingsError(f"{path}: readable by other users: remove it to generate a new one")
    if len(text) != 2 * KEY_BYTES:
        raise SettingsError(
            f"{path}: expected {2 * KEY_BYTES} characters, was {len(text)}: remove it to generate a new one"
        )
    return text.encode()
