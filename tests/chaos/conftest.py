"""Fixtures that kill a program at any write and read the remaining files."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

KILLED = -9


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the program ended."""

    code: int
    """-9 where it was killed."""
    points: list[str]
    """Each moment before a write that it reached, in order."""
    log: str


class ChaosProcesses:
    """Runs the program in forks; see `chaos_processes.py`."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process, self._folder = process, folder

    async def run(self, *words: str, data: Path, environment: dict[str, str], kill_at: int | None = None) -> Ended:
        log = self._folder / f"{data.name}.log"
        order = {
            "words": words,
            "environment": environment | {"TRADESCHOOL_DATA_DIR": str(data)},
            "folder": str(data),
            "kill_at": kill_at,
            "log": str(log),
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        told = json.loads(await self._process.stdout.readline())
        return Ended(**told, log=log.read_text())


@pytest.fixture
def chaos_processes_of(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[ChaosProcesses]]:
    """Creates a runner; several runners run the program concurrently."""

    @asynccontextmanager
    async def one() -> AsyncIterator[ChaosProcesses]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("chaos_processes.py"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
            cwd=tmp_path,
        )
        assert process.stdin
        try:
            yield ChaosProcesses(process, tmp_path)
        finally:
            process.stdin.close()
            await process.wait()

    return one


@pytest.fixture
async def chaos_processes(
    chaos_processes_of: Callable[[], AbstractAsyncContextManager[ChaosProcesses]],
) -> AsyncIterator[ChaosProcesses]:
    async with chaos_processes_of() as only:
        yield only


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, object]]:
    """Content of a data folder: bytes of parquet files, and seals without their time."""

    def read(folder: Path) -> dict[str, object]:
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.parquet"))}
        seals = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.seal.json"))}
        return {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()} | {
            name: json.loads(path.read_text()) | {"sealed_at": None} for name, path in seals.items()
        }

    return read
