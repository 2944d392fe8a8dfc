"""`tradeschool fetch` killed before every single write: the next run gives the same files."""

from pathlib import Path

import pytest

RANGE = "20211231-20220102"  # two years' files, and no candle absent
PAGES = 2
WORDS = ("fetch", "--pairs", "BTC/USD", "--timeframes", "M5,H1", "--timerange", RANGE)
KILLED = -9

POINTS = {
    "a data folder without its ledger": "open /.fetch.lock",
    "a page before its transaction": "BEGIN IMMEDIATE",
    "a page in its transaction": "INSERT INTO pages",
    "a page before it is on the disk": "COMMIT",
    "a year's file in the making": "open /.staging/20211231-20220102.parquet",
    "a year's file before it has its name": "os.rename /coinbase/BTC-USD/M5/year=2021/20211231-20220102.parquet",
    "a name that is not on the disk yet": "open /coinbase/BTC-USD/M5/year=2021",
    "a year's file that the ledger does not know": "INSERT OR REPLACE",
    "bodies before they are dropped": "UPDATE pages SET",
    "a seal before it has its name": "os.rename /coinbase/BTC-USD/M5/20211231-20220102.seal.json",
    "a derived seal": "os.rename /coinbase/BTC-USD/H1/20211231-20220102.seal.json",
    "the summary": "os.rename /download_summary.csv",
}
"""Moments that must be among those at which it is killed: what stands half done, and the write that comes next."""


@pytest.fixture
def environment() -> dict[str, str]:
    return {"TRADESCHOOL_FETCH__COINBASE_RATE": "500", "TRADESCHOOL_FETCH__PATIENCE_SECONDS": "300"}


async def test_fetch_resumes_after_a_kill_before_each_write(
    tmp_path: Path, serving, chaos_processes, content, environment
) -> None:
    async with serving() as served:
        environment["TRADESCHOOL_FETCH__COINBASE_URL"] = served.url
        undisturbed = await chaos_processes.run(*WORDS, data=tmp_path / "undisturbed", environment=environment)
        whole = content(tmp_path / "undisturbed")
        assert (undisturbed.code, len(whole)) == (0, 6), undisturbed.log
        reached: list[str] = []
        for number in range(len(undisturbed.points)):
            data = tmp_path / f"killed{number}"
            killed = await chaos_processes.run(*WORDS, data=data, environment=environment, kill_at=number)
            asked = len(served.requests)
            again = await chaos_processes.run(*WORDS, data=data, environment=environment)
            reached.append(killed.points[-1])

            assert killed.code == KILLED, killed.log
            assert again.code == 0, (reached[-1], again.log)
            assert content(data) == whole, reached[-1]
            assert not list((data / ".staging").glob("*")), reached[-1]
            assert len(served.requests) - asked <= PAGES + 1, reached[-1]

    assert not {name: point for name, point in POINTS.items() if point not in reached}
