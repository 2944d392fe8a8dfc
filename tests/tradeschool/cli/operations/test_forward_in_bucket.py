"""`tradeschool forward` on candles in a bucket: the same days as on a folder, also where the bucket fails."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optimizer.forward.day_log import DAYS_NAME
from tests.factories.buckets import S3, s3_server
from tests.factories.winner_setups import BTC, write_winner
from tests.tradeschool.cli.operations.test_forward import REPLAY, WIDE, days, folder

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as made:
        yield made


@pytest.fixture
def move_to_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Makes a new prefix of the bucket `data_dir`."""

    def move() -> None:
        monkeypatch.setenv("TRADESCHOOL_DATA_DIR", str(s3.config(tmp_path).url))
        given = {"ENDPOINT": s3.url, "REGION": "us-east-1", "ACCESS_KEY_ID": "key", "REFRESH_SECONDS": "0"}
        for name, value in (given | {"SECRET_ACCESS_KEY": "not-a-secret", "PATIENCE_SECONDS": "0.1"}).items():
            monkeypatch.setenv(f"TRADESCHOOL_OBJECT_STORAGE__{name}", value)

    yield move
    s3.faults.coming, s3.faults.always = [], ""


def test_a_forward_test_on_a_bucket_equals_that_on_a_folder(
    command: Command, s3: S3, move_to_bucket: Callable[[], None], seal_random_walk: Callable[..., object]
) -> None:
    asked = ("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    seal_random_walk(BTC, "20210101-20210410")
    assert command(*asked)[0] == 0
    expected = days()
    folder().rename("on-a-folder")
    move_to_bucket()
    seal_random_walk(BTC, "20210101-20210410")
    s3.faults.coming, s3.faults.methods = ["cut", "InternalError"], ("GET",)

    code, _, told = command(*asked)

    assert code == 0, told
    assert s3.faults.coming == [], "the faults happened"
    assert days() == expected
    assert len(expected) == 40


def test_candles_to_come_are_read_from_the_bucket(
    command: Command, move_to_bucket: Callable[[], None], seal_random_walk: Callable[..., object]
) -> None:
    move_to_bucket()
    asked = ("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    seal_random_walk(BTC, "20210101-20210315")
    code, _, told = command(*asked)
    assert (code, len(days())) == (4, 14)
    assert f"{BTC}: 2021-03-15..2021-04-10 is not stored yet; run: tradeschool fetch --pairs BTC/USD" in told
    before = (folder() / DAYS_NAME).read_bytes()

    seal_random_walk(BTC, "20210315-20210410")

    assert command(*asked)[0] == 0
    assert len(days()) == 40
    assert (folder() / DAYS_NAME).read_bytes().startswith(before)
