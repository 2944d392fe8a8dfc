"""Compiled functions on disk, for every process, user and machine that can read the folder.

One file a function and signature. Its name carries a digest of all that its machine code depends on: source file,
bytecode, signature, processor, versions of Python, numba and llvmlite. What does not fit is not found, and the function
is compiled in memory. Files are written whole and renamed, so any number of processes may write them at once.

numba's own cache looks only into folders that it can write, and raises where it finds none: an installation that is
owned by root would serve no other user, and a user without a home folder could not even import a kernel.
"""

import hashlib
import logging
import os
import pickle
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

logger = logging.getLogger(__name__)

DIGEST_BYTES = 32
SUFFIX = ".machine-code"


class CodeCache(NullCache):
    """What numba asks for a function's machine code before it compiles, and hands it to afterwards.

    Read from the first folder that has it, written to the first that allows it: `NUMBA_CACHE_DIR` where it is set,
    `__pycache__` beside the source, the user's cache folder.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._source = Path(function.__code__.co_filename)
        self.path: Path | None = None
        """The file that was read or written last; None where there was none."""

    @property
    def cache_path(self) -> str | None:
        """The folder of `path`, in numba's statistics."""
        return None if self.path is None else str(self.path.parent)

    def load_overload(self, sig: object, target_context: Any) -> Any:
        """The compiled function, None where no folder has it."""
        target_context.refresh()
        name = self._name(sig, target_context.codegen())
        for path in (folder / name for folder in _folders(self._source)):
            code = _read(path)
            if code is not None:
                self.path = path
                return CompileResult._rebuild(target_context, *pickle.loads(code))  # noqa: S301  # like source
        _tell_once(
            "kernels_compiling", "machine code is compiled: none is kept for this processor, source and libraries"
        )
        return None

    def save_overload(self, sig: object, data: Any) -> None:
        """Keep a compiled function, where there is a folder for it."""
        if data.library.has_dynamic_globals:
            return  # it holds addresses of this process
        name, code = self._name(sig, data.codegen), dumps(data._reduce())
        for path in (folder / name for folder in _folders(self._source)):
            if _write(path, code):
                self.path = path
                return
        _tell_once("kernels_not_kept", "machine code is not kept: no folder for it can be written")

    def _name(self, signature: object, codegen: Any) -> str:
        function = self._function
        body = (function.__code__.co_code, function.__code__.co_firstlineno, _closed_over(function))
        told = (str(signature), codegen.magic_tuple(), body)
        versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
        digest = hashlib.sha256(repr((told, versions, _digest_of(self._source))).encode()).hexdigest()
        return f"{function.__module__}.{function.__qualname__.replace('<locals>.', '')}-{digest[:32]}{SUFFIX}"


def _closed_over(function: FunctionType) -> tuple[bytes, ...]:
    return tuple(dumps(cell.cell_contents) for cell in function.__closure__ or ())


def _folders(source: Path) -> Iterator[Path]:
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given)
    yield source.parent / "__pycache__"
    if cached := os.environ.get("XDG_CACHE_HOME"):
        yield Path(cached) / "tradeschool"
        return
    with suppress(RuntimeError):  # a user without a home folder
        yield Path.home() / ".cache" / "tradeschool"


@cache
def _digest_of(source: Path) -> bytes:
    return hashlib.sha256(source.read_bytes()).digest() if source.is_file() else b""


def _read(path: Path) -> bytes | None:
    """What `_write` wrote; None where it is not there, cannot be read, or is damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, code = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> bool:
    """Whether the file is there now, whole; it is readable for whom the folder is."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(hashlib.sha256(code).digest() + code)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError:
        return False
    return True


@cache
def _tell_once(action: str, message: str) -> None:
    logger.info(message, extra={"action": action})
