"""Shares a level's arrays on a machine: written to files once, and memory-mapped by every worker.

Otherwise each worker would hold a copy: several hundred megabytes for a few datasets of five-minute candles.
"""

import dataclasses
import logging
import os
import time
import uuid
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

MIN_BYTES = 1 << 16
"""Smaller arrays are not shared."""
KEEP_SECONDS = 86_400.0
"""Files that were not used for that time are removed; existing mappings stay valid."""

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def share(values: tuple[Value, ...], folder: Path, key: str) -> tuple[Value, ...]:
    """Return the same values with the large arrays of dataclasses memory-mapped from files.

    `key` identifies the input of the values. If the disk is full, the values are returned unchanged.
    """
    stem = blake2b(key.encode(), digest_size=16).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_old(folder)
        return tuple(_mapped(value, folder, f"{stem}-{place}") for place, value in enumerate(values))
    except OSError as error:
        log.warning("arrays not shared", extra={"action": "arrays_not_shared", "reason": str(error)})
        return values


def _mapped(value: Value, folder: Path, stem: str) -> Value:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, object] = {}
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if isinstance(held, np.ndarray) and held.nbytes >= MIN_BYTES:
            changes[field.name] = _map(held, folder / f"{stem}-{field.name}.npy")
        elif dataclasses.is_dataclass(held):
            changes[field.name] = _mapped(held, folder, f"{stem}-{field.name}")
    return dataclasses.replace(value, **changes) if changes else value


def _map(array: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    mode: Literal["c", "r"] = "c" if array.flags.writeable else "r"
    found = _load(path, mode)
    if found is None or found.dtype != array.dtype or not np.array_equal(found, array, equal_nan=_has_nan(array)):
        temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        found = _load(path, mode)
    return array if found is None else found


def _load(path: Path, mode: Literal["c", "r"]) -> NDArray[np.generic] | None:
    """Memory-map a file; mode `c` copies on write, mode `r` is read-only, which Numba treats as another type."""
    with suppress(OSError, ValueError, EOFError):
        found = np.load(path, mmap_mode=mode, allow_pickle=False)
        os.utime(path)
        return np.asarray(found)
    return None


def _has_nan(array: NDArray[np.generic]) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def _remove_old(folder: Path) -> None:
    oldest = time.time() - KEEP_SECONDS
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()
