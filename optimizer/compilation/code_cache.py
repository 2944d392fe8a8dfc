"""On-disk cache of compiled functions, shared by all processes, users and machines that can read the folder.

One file holds one function and signature. The file name contains a digest of everything the machine code depends on:
source file, bytecode, signature, processor, and the versions of Python, numba and llvmlite. A file with another digest
is not used and the function is compiled in memory. Files are written to a temporary name and renamed, so any number of
processes may write concurrently.

numba's own cache considers only writable folders and raises if there is none: an installation owned by root would serve
no other user, and a user without a home folder could not import a kernel.
"""

import hashlib
import logging
import os
import pickle
import sys
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from optimizer.compilation.cache_folders import user_cache_folder

logger = logging.getLogger(__name__)

DIGEST_BYTES = 32
SUFFIX = ".machine-code"


class CodeCache(NullCache):
    """Cache with the interface that numba calls before and after it compiles a function.

    Reads from the first folder that has the file and writes to the first writable one: `NUMBA_CACHE_DIR` if set,
    `__pycache__` beside the source, the user's cache folder.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._source = Path(function.__code__.co_filename)
        self.path: Path | None = None
        """The file read or written last; None before the first."""

    @property
    def cache_path(self) -> str | None:
        """Folder of `path`, shown in numba's statistics."""
        return None if self.path is None else str(self.path.parent)

    def load_overload(self, sig: object, target_context: Any) -> Any:
        """Return the compiled function, or None if no folder has it."""
        target_context.refresh()
        name = self._name(sig, target_context.codegen())
        for path in (folder / name for folder in _folders(self._source)):
            code = _read(path)
            if code is not None:
                self.path = path
                return CompileResult._rebuild(target_context, *pickle.loads(code))  # noqa: S301  # trusted like source
        _log_once(
            "kernels_compiling", "compiling machine code: none is cached for this processor, source and libraries"
        )
        return None

    def save_overload(self, sig: object, data: Any) -> None:
        """Store a compiled function in the first writable folder, if there is one."""
        if data.library.has_dynamic_globals:
            return  # it contains addresses of this process
        name, code = self._name(sig, data.codegen), dumps(data._reduce())
        for path in (folder / name for folder in _folders(self._source)):
            if _write(path, code):
                self.path = path
                return
        _log_once("kernels_not_kept", "machine code is not cached: no cache folder is writable")

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
    if folder := user_cache_folder():
        yield folder


@cache
def _digest_of(source: Path) -> bytes:
    return hashlib.sha256(source.read_bytes()).digest() if source.is_file() else b""


def _read(path: Path) -> bytes | None:
    """Return the content that `_write` stored; None if the file is missing, unreadable or damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, code = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> bool:
    """Write the file atomically and return whether it exists now; permissions follow the folder's."""
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
def _log_once(action: str, message: str) -> None:
    logger.info(message, extra={"action": action})
