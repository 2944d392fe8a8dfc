import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fetcher.importing.files.archives import MAX_MEMBERS
from fetcher.importing.importer import ImportResult
from tests.factories.candle_files import table, times, unix, written
from tradeschool.errors import InvalidCandles, SettingsError
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.store.frame_store import FrameStore

Import = Callable[..., ImportResult]
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
HEADER = "ts,open,high,low,close,volume"
LINES = table(times(12), unix())


def text(lines: list[str] = LINES) -> str:
    return "\n".join([HEADER, *lines])


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def rows(result: ImportResult) -> int:
    (dataset,) = result.datasets
    return dataset.ready.rows


def test_files_of_an_archive_and_its_folders_are_one_range(tmp_path: Path, run_import: Import) -> None:
    inner = gzip.compress(text(LINES[8:]).encode())
    members = {"a/b/2.csv": text(LINES[4:8]), "1.csv": text(LINES[:4]), "a/3.csv.gz": inner, "a/readme.md": "x"}
    result = run_import(zipped(tmp_path / "x.zip", {**members, "__MACOSX/._1.csv": "x"}), dataset=BTC)

    assert rows(result) == 12
    assert [file.name.rpartition("x.zip/")[2] for file in result.datasets[0].files] == [
        "1.csv",
        "a/3.csv.gz",
        "a/b/2.csv",
    ]
    assert [name.rpartition("/")[2] for name in result.ignored] == ["readme.md"]


def test_parquet_inside_of_an_archive(tmp_path: Path, run_import: Import, store: FrameStore, made: Callable) -> None:
    from tradeschool.markets.windows import Window

    candles = made(BTC, Window(times(1)[0], times(13)[-1]))
    buffer = io.BytesIO()
    candles.frame.write_parquet(buffer)
    zipped(tmp_path / "x.zip", {"candles.parquet": buffer.getvalue()})
    run_import(tmp_path / "x.zip", dataset=BTC)

    assert store.candles(BTC, Window(times(1)[0], times(13)[-1])).frame.equals(candles.frame)


@pytest.mark.parametrize("name", ["../x.csv", "a/../../x.csv", "/x.csv", "C:/x.csv", "..\\x.csv"])
def test_a_member_that_leaves_its_folder_is_refused(
    tmp_path: Path, run_import: Import, store: FrameStore, name: str
) -> None:
    with pytest.raises(InvalidCandles, match=r"x\.zip: has a member with an unsafe path"):
        run_import(zipped(tmp_path / "x.zip", {name: text()}), dataset=BTC)
    assert store.seals(BTC) == []


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path, run_import: Import) -> None:
    path = zipped(tmp_path / "x.zip", {"x.csv": b"0" * (40 << 20)})

    with pytest.raises(InvalidCandles, match=r"x\.zip: unpacks to more than 300 times"):
        run_import(path, dataset=BTC)


def test_a_gzip_file_that_unpacks_to_far_more_is_refused(tmp_path: Path, run_import: Import) -> None:
    body = f"{HEADER}\n".encode() + (LINES[0] + "\n").encode() * 1_500_000
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(body))

    with pytest.raises(InvalidCandles, match=r"x\.csv\.gz"):
        run_import(tmp_path / "x.csv.gz", dataset=BTC)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b" " * (40 << 20)))
    with pytest.raises(InvalidCandles, match=r"x\.json\.gz: unpacks to more than 300 times"):
        run_import(tmp_path / "x.json.gz", dataset=BTC)


def test_too_many_members_are_refused(tmp_path: Path, run_import: Import) -> None:
    path = zipped(tmp_path / "x.zip", dict.fromkeys((f"{at}.csv" for at in range(MAX_MEMBERS + 1)), ""))

    with pytest.raises(InvalidCandles, match=r"has 20,001 members, expected at most 20,000"):
        run_import(path, dataset=BTC)


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("x.zip", b"PK\x03\x04 no archive", r"x\.zip: cannot be read as a zip archive"),
        ("x.csv.gz", b"\x1f\x8b\x08 no gzip", r"x\.csv\.gz: cannot be unpacked"),
        ("x.csv.gz", gzip.compress(text().encode())[:-20], r"x\.csv\.gz: cannot be unpacked"),
        ("x.parquet.gz", gzip.compress(b"no parquet"), r"x\.parquet\.gz: cannot be read as parquet"),
    ],
    ids=["no zip", "no gzip", "cut gzip", "no parquet"],
)
def test_a_damaged_archive_is_told(tmp_path: Path, run_import: Import, name: str, body: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(body)

    with pytest.raises(InvalidCandles, match=told):
        run_import(tmp_path / name, dataset=BTC)


def test_a_damaged_member_is_told(tmp_path: Path, run_import: Import) -> None:
    path = zipped(tmp_path / "x.zip", {"x.csv": text(table(times(2_000), unix()))})
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)

    with pytest.raises(InvalidCandles, match=r"x\.zip/x\.csv"):
        run_import(path, dataset=BTC)


def test_an_archive_inside_of_an_archive_is_told(tmp_path: Path, run_import: Import) -> None:
    inner = zipped(tmp_path / "inner.zip", {"x.csv": text()}).read_bytes()

    with pytest.raises(InvalidCandles, match=r"outer\.zip/inner\.zip: is an archive inside an archive"):
        run_import(zipped(tmp_path / "outer.zip", {"inner.zip": inner}), dataset=BTC)


def test_a_folder_a_glob_and_files_give_the_same(tmp_path: Path, run_import: Import) -> None:
    for at in range(3):
        written(tmp_path / "in" / str(at) / f"{at}.csv", [HEADER, *LINES[at * 4 : at * 4 + 4]])
    for paths in ([tmp_path / "in"], [tmp_path / "in/*"], [tmp_path / "in/**/*.csv"], sorted(tmp_path.rglob("*.csv"))):
        assert rows(run_import(*paths, dataset=BTC, dry_run=True)) == 12


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, run_import: Import) -> None:
    path = written(tmp_path / "in" / "x.csv", [HEADER, *LINES])
    (result,) = run_import(path, tmp_path / "in", dataset=BTC).datasets

    assert len(result.files) == 1


def test_a_text_of_a_folder_that_is_no_table_is_ignored(tmp_path: Path, run_import: Import) -> None:
    written(tmp_path / "in" / "DAT_ASCII_x.txt", ["Status report", "gaps: 0"])
    written(tmp_path / "in" / "x.csv", [HEADER, *LINES])
    result = run_import(tmp_path / "in", dataset=BTC)

    assert [name.rpartition("/")[2] for name in result.ignored] == ["DAT_ASCII_x.txt"]
    with pytest.raises(InvalidCandles, match="is no table"):
        run_import(tmp_path / "in" / "DAT_ASCII_x.txt", dataset=BTC)


def test_a_folder_without_candle_files_is_told(tmp_path: Path, run_import: Import) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.md").touch()

    with pytest.raises(InvalidCandles, match=r"in: no candle files; expected names that end in \.csv"):
        run_import(tmp_path / "in", dataset=BTC)


@pytest.mark.parametrize("name", ["nothing.csv", "nothing*.csv", "nothing/"])
def test_a_path_that_leads_nowhere_is_told(tmp_path: Path, run_import: Import, name: str) -> None:
    with pytest.raises(SettingsError, match="no such file or folder"):
        run_import(tmp_path / name, dataset=BTC)
