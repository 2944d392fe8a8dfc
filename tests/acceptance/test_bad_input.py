"""Each input error gives one line with cause, place and advice, and its documented exit code."""

from pathlib import Path

import pytest

USAGE, DATA_INCOMPLETE, UNREACHABLE = 2, 4, 5
BTC = ("fetch", "--pairs", "BTC/USD", "--timeframes", "H1", "--timerange", "20230101-20230105")
EUR = ("fetch", "--pairs", "EUR/USD", "--timeframes", "H1", "--timerange", "20230101-20230105")
CASES = {
    "unknown pair": (
        ("fetch", "--pairs", "BTC/UDS"),
        {},
        USAGE,
        "'BTC/UDS': did you mean coinbase:BTC/USD",
    ),
    "unknown timeframe": (
        ("fetch", "--timeframes", "M7"),
        {},
        USAGE,
        "unknown timeframe 'M7', nearest M5 or M15",
    ),
    "range of another form": (("fetch", "--timerange", "2020-13"), {}, USAGE, "expected for example 20230101-20230201"),
    "range in the future": (("fetch", "--timerange", "20230101-20990101"), {}, USAGE, "the latest possible end is 20"),
    "no token": (EUR, {"OANDA_API_TOKEN": ""}, USAGE, "set OANDA_API_TOKEN"),
    "misspelt setting": (BTC, {"TRADESCHOOL_FETCH__COINBASE_RAET": "1"}, USAGE, "did you mean TRADESCHOOL_FETCH__COIN"),
    "wrong type": (BTC, {"TRADESCHOOL_FETCH__COINBASE_RATE": "fast"}, USAGE, "fetch.coinbase_rate"),
    "provider away": (BTC, {"TRADESCHOOL_FETCH__COINBASE_URL": "http://127.0.0.1:9"}, UNREACHABLE, "does not respond"),
    "Redis away": (("queue", "status"), {"RQ_REDIS_URL": "redis://:pw@127.0.0.1:9"}, UNREACHABLE, "redis_url"),
    "no candles": (("optimize", "run", "--level", "1"), {}, DATA_INCOMPLETE, "run: tradeschool fetch"),
    "no such level": (("optimize", "run", "--level", "9"), {}, USAGE, "unknown level '9'"),
    "no such run": (("optimize", "resume", "nothing"), {}, USAGE, "no run 'nothing'"),
    "no such curriculum": (("optimize", "run", "--curriculum", "no.toml"), {}, USAGE, "no.toml cannot be read"),
    "no replay folder": (("exchange", "--replay", "nowhere"), {}, USAGE, "nowhere"),
    "unknown fault": (("exchange", "--faults", "fire=1"), {}, USAGE, "unknown key 'fire'"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gives_one_line_and_the_right_exit_code(program, case: str) -> None:
    arguments, environment, code, said = CASES[case]

    done = program.run(*arguments, environment=environment)

    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("tradeschool: ")]
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert "pw" not in done.stderr


def test_a_wrong_key_of_a_curriculum_is_reported_with_its_line(program) -> None:
    path = program.write_curriculum()
    path.write_text(path.read_text().replace("direction", "directoin"))

    done = program.run("optimize", "run", "--curriculum", str(path))

    assert done.returncode == USAGE
    assert f"{path}:5: level.0.directoin" in done.stderr


def test_a_search_refuses_a_changed_file_and_a_fetch_repairs_it(fetched) -> None:
    curriculum = str(fetched.write_curriculum())
    path = next((fetched.folder / "data").rglob("coinbase/BTC-USD/M5/**/*.parquet"))
    sound = path.read_bytes()
    path.write_bytes(b"not parquet at all")

    refused = fetched.run("optimize", "run", "--curriculum", curriculum)
    repaired = fetched.run("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", "--timerange", "20230101-20230122")

    assert refused.returncode == DATA_INCOMPLETE
    assert "changed since it was sealed" in refused.stderr
    assert repaired.returncode == 0, repaired.stderr
    assert path.read_bytes() == sound


def test_a_full_disk_loses_no_stored_candle(program, tmp_path: Path) -> None:
    """A file size limit simulates the full disk: a write fails in the middle of the download."""
    limited = ("sh", "-c", 'ulimit -f 200; trap "" XFSZ; exec "$0" -m tradeschool "$@"')
    arguments = ("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", "--timerange", "20230101-20230301")

    full = program.run_through(limited, *arguments)
    after = program.run(*arguments)

    assert full.returncode == 1, full.stderr
    assert "free space" in full.stderr
    assert "Traceback" not in full.stderr
    assert after.returncode == 0, after.stderr
    assert program.run("data", "verify").returncode == 0
