import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from fetcher.importing.files.csv_table import HEAD_BYTES, CsvTable
from fetcher.importing.files.sources import CandleFile
from fetcher.importing.files.tables import LINE
from fetcher.importing.files.text_blocks import LONGEST_LINE, blocks
from tests.factories.candle_files import table, times, unix, written
from tradeschool.errors import InvalidCandles

HEADER = "ts,open,high,low,close,volume"
ROWS = 20_000
BLOCK = 1 << 14


@dataclass
class CountedReads(io.BytesIO):
    """A file that counts how many bytes are asked of it."""

    body: bytes
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.body)

    def read(self, size: int | None = -1) -> bytes:
        self.asked.append(-1 if size is None else size)
        return super().read(size)


class CountedFile(CandleFile):
    """A candle file whose reads are counted; those of its head are forgotten when it is opened again."""

    reads: CountedReads

    def open(self) -> IO[bytes]:
        object.__setattr__(self, "reads", CountedReads(self.path.read_bytes()))
        return self.reads


@pytest.fixture
def counted(tmp_path: Path) -> CountedFile:
    return CountedFile(written(tmp_path / "x.csv", [HEADER, *table(times(ROWS), unix())]))


def test_a_large_file_is_read_block_by_block(counted: CountedFile) -> None:
    """While a batch is used, no more of the file was read than one block after it."""
    size = counted.path.stat().st_size
    total, most, count = 0, 0, 0
    batches: Iterator = CsvTable(counted, BLOCK).batches(["ts", "close"])
    for batch in batches:
        count += 1
        total += batch.height
        most = max(most, batch.estimated_size())
        assert counted.reads.tell() <= (count + 1) * (BLOCK + HEAD_BYTES)
        assert max(counted.reads.asked) <= BLOCK
        assert min(counted.reads.asked) > 0

    assert total == ROWS
    assert count >= size // BLOCK
    assert most < 4 * BLOCK


def test_lines_are_numbered_across_blocks(counted: CountedFile) -> None:
    lines = [line for batch in CsvTable(counted, BLOCK).batches(["ts"]) for line in batch[LINE]]

    assert lines == list(range(2, ROWS + 2))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [7, 64, 1000])
def test_blocks_hold_whole_lines_whatever_ends_them(ending: str, size: int) -> None:
    lines = table(times(50), unix())
    found = list(blocks(io.BytesIO(ending.join(lines).encode()), "x", size))

    assert b"".join(block.body for block in found).decode().split("\n") == [*lines, ""]
    assert [block.first_line for block in found] == [
        1 + sum(before.body.count(b"\n") for before in found[:at]) for at in range(len(found))
    ]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(InvalidCandles, match="x, line 2: is too long"):
        list(blocks(io.BytesIO(b"a\n" + b"1" * (2 * LONGEST_LINE)), "x", 1 << 12))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda line: line[:20], "has 3 of 6 fields: the row is cut off"),
        (lambda line: line.replace(",", ";"), "is separated by ';', the lines before by ','; use one separator"),
        (lambda line: line + ",5", "has 7 fields, expected 6"),
        (lambda line: line.replace(".", '."', 1), "has a quote without its end"),
        (lambda line: line.replace(".", "\x00", 1), "has NUL bytes: not a text in UTF-8"),
    ],
    ids=["cut", "separator", "too many", "quote", "NUL"],
)
@pytest.mark.parametrize("at", [3, 15_000])
def test_a_damaged_line_is_told_with_its_number(tmp_path: Path, damage, told: str, at: int) -> None:
    lines = [HEADER, *table(times(ROWS), unix())]
    lines[at - 1] = damage(lines[at - 1])
    path = written(tmp_path / "x.csv", lines)

    with pytest.raises(InvalidCandles, match=rf"x\.csv, line {at}: {told}"):
        list(CsvTable(CandleFile(path), BLOCK).batches(["ts"]))


def test_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.csv", [f"{HEADER},note", *(f"{line},ü" for line in table(times(3), unix()))], "latin-1"
    )

    with pytest.raises(InvalidCandles, match=r"x\.csv, line 2: is not UTF-8; save the file as UTF-8"):
        CsvTable(CandleFile(path))
