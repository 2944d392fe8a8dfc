"""`tradeschool init` on stored candles: the files load, and windows and holdout period follow the rules."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from optimizer.curriculum.level_files import load_levels
from optimizer.level.risk import Risk
from optimizer.level.spec import Direction
from tests.factories.stores import seal_made
from tradeschool.cli.main import main
from tradeschool.cli.setup import init
from tradeschool.errors import SettingsError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.settings.loading import load
from tradeschool.store import Gap, GapReason
from tradeschool.store.frame_store import FrameStore

START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)
WORDS = ("init", "--pairs", "BTC/USD,EUR/USD", "--from", "2020", "--timeframes", "H1")


def rise_and_fall(dataset: Dataset, window: Window) -> CandleArrays:
    """Prices that rise for 240 days and fall for 240 days, with noise, then rise again."""
    time = expected_slots(dataset, window)
    days = (time - int(START.timestamp())) / 86_400
    level = np.where(days < 240, days, np.where(days < 480, 480 - days, days - 480)) * 0.004
    noise = np.random.default_rng(len(time)).normal(0, 0.004, len(time))
    closes = np.round(np.exp(level + noise), 5 if dataset.instrument == EUR_USD else 2) * 1.0
    closes = np.round(
        closes * (1 if dataset.instrument == EUR_USD else 1000), 5 if dataset.instrument == EUR_USD else 2
    )
    spread = np.full(len(time), 0.00005) if dataset.instrument == EUR_USD else None
    ones = np.ones(len(time))
    return CandleArrays(
        dataset=dataset, time=time, open=closes, high=closes, low=closes, close=closes, volume=ones, half_spread=spread
    )


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the program in an empty folder: exit code and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tradeschool", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def stored(folder: Path, gaps: tuple[Gap, ...] = ()) -> None:
    store = FrameStore(folder / "data")
    for instrument in (BTC_USD, EUR_USD):
        dataset = Dataset(instrument=instrument, timeframe=Timeframe.H1)
        seal_made(store, dataset, Window(START, END), rise_and_fall, gaps if instrument == BTC_USD else ())


def test_the_four_levels_are_written_for_the_pairs(command, tmp_path: Path) -> None:
    stored(tmp_path)
    usual_settings = load()

    code, _, said = command(*WORDS)

    assert code == 0, said
    levels = load_levels(tmp_path / "curriculum.toml")
    built_in = load_levels()
    same = (
        "name",
        "title",
        "direction",
        "trials",
        "gate",
        "risk",
        "ranges",
        "min_trades",
        "retries",
        "analyses",
        "costs",
    )
    for level, usual in zip(levels, built_in, strict=True):
        assert [getattr(level, name) for name in same] == [getattr(usual, name) for name in same]
        assert {each.dataset for each in level.datasets} == {"coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"}
        assert all(each.end <= level.holdout.start for each in level.datasets)
    assert {level.risk for level in built_in} == {Risk(target_volatility=0.10, max_leverage=1.0)}
    assert {str(level.holdout.window) for level in levels} == {"2021-08-08..2022-01-01"}, "a fifth of the days"
    written = load(file=tmp_path / "tradeschool.toml")
    assert written.model_dump(exclude={"fetch": {"providers"}}) == usual_settings.model_dump(
        exclude={"fetch": {"providers"}}
    )
    assert written.fetch.provider("binance") == usual_settings.fetch.provider("binance")


def test_another_strategy_has_its_own_ranges_in_the_file_and_in_the_plan(command, tmp_path: Path) -> None:
    stored(tmp_path)

    code, _, said = command(*WORDS, "--strategy", "band_reversion")
    assert code == 0, said

    levels = load_levels(tmp_path / "curriculum.toml")
    assert {level.strategy for level in levels} == {"band_reversion"}
    assert levels[0].ranges["width"] == (1.5, 3.0)
    assert "--strategy band_reversion" in (tmp_path / "curriculum.toml").read_text().splitlines()[1]
    _, out, _ = command("optimize", "plan", "--curriculum", "curriculum.toml", "--strategy", "momentum", "--json")
    planned = json.loads(out)["levels"]
    assert [level["strategy"] for level in planned] == ["momentum"] * 4
    assert planned[0]["ranges"] == {"lookback": [24, 120], "hold": [4, 48], "atr_period": [7, 28]}
    _, out, _ = command("optimize", "plan", "--curriculum", "curriculum.toml", "--strategy", "momentum")
    assert out.count("momentum instead of band_reversion; its own ranges: lookback 24..120") == 4


def test_windows_are_found_by_the_rule_and_the_plan_tells_it(command, tmp_path: Path) -> None:
    stored(tmp_path)
    command(*WORDS)

    levels = {level.direction: level for level in load_levels(tmp_path / "curriculum.toml")}
    turn = (START + timedelta(days=240)).date()
    assert all(abs(each.end - turn) < timedelta(days=30) for each in levels[Direction.LONG].datasets)
    assert all(abs(each.start - turn) < timedelta(days=30) for each in levels[Direction.SHORT].datasets)
    assert not [each.rule for each in levels[Direction.BOTH].datasets if each.rule]
    _, out, _ = command("optimize", "plan", "--curriculum", "curriculum.toml", "--json")
    planned = json.loads(out)
    assert planned["holdout"] == "2021-08-08..2022-01-01"
    assert [bool(each["rule"]) for level in planned["levels"] for each in level["datasets"]] == [True] * 4 + [False] * 4
    assert planned["levels"][0]["datasets"][0]["rule"].startswith("bull days outnumber the others most")
    assert planned["levels"][0]["costs"]["crypto_fee_bps"] == 5


def test_the_same_candles_give_the_same_file(command, tmp_path: Path) -> None:
    stored(tmp_path)
    command(*WORDS)
    first = (tmp_path / "curriculum.toml").read_text()

    code, _, _ = command(*WORDS, "--force")

    assert code == 0
    assert (tmp_path / "curriculum.toml").read_text() == first


def test_nothing_is_overwritten_without_force(command, tmp_path: Path) -> None:
    stored(tmp_path)
    (tmp_path / "curriculum.toml").write_text("mine")
    (tmp_path / "tradeschool.toml").write_text("min_coverage = 0.9\n")

    code, _, said = command(*WORDS)
    assert (code, (tmp_path / "curriculum.toml").read_text()) == (2, "mine")
    assert "curriculum.toml exists" in said

    (tmp_path / "curriculum.toml").unlink()
    code, _, said = command(*WORDS)
    assert (code, (tmp_path / "tradeschool.toml").read_text()) == (0, "min_coverage = 0.9\n")
    assert "kept: tradeschool.toml exists" in said

    command(*WORDS, "--force")
    text = (tmp_path / "tradeschool.toml").read_text()
    assert "\nmin_coverage = 0.9\n" in text, "settings that were in effect stay"


def test_without_candles_the_download_command_is_told(command, tmp_path: Path) -> None:
    code, _, said = command(*WORDS)

    assert code == 4
    expected = "tradeschool fetch --pairs coinbase:BTC/USD,oanda:EUR/USD --timeframes H1 --timerange 20200101-"
    assert said.strip().endswith(expected)
    assert not list(tmp_path.glob("*.toml"))

    _, _, said = command(*WORDS, "--to", "2022")
    assert said.strip().endswith(f"{expected}20220101")


def test_a_thin_market_lowers_the_density_of_its_levels(command, tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    starts = [START + 3 * hour * number + hour for number in range((END - START) // (3 * hour))]
    stored(
        tmp_path,
        tuple(Gap(start=at, end=at + hour, slots=1, reason=GapReason.CONFIRMED_EMPTY) for at in starts),
    )

    code, _, said = command(*WORDS)

    assert code == 0, said
    assert {level.min_density for level in load_levels(tmp_path / "curriculum.toml")} == {0.66}
    assert "min_density is that of the thinnest market: coinbase/BTC-USD/H1 traded in 66.7% of its slots" in said


def test_the_files_of_another_folder_name_the_candles(command, tmp_path: Path) -> None:
    stored(tmp_path)

    code, _, said = command(*WORDS, "--out", "there")

    assert code == 0, said
    assert load(file=tmp_path / "there" / "tradeschool.toml").data_dir == tmp_path / "data"


def test_too_few_days_are_refused(command, tmp_path: Path) -> None:
    stored(tmp_path)

    code, _, said = command(*WORDS[:4], "2021-10-01", *WORDS[5:])

    assert code == 4
    assert "fewer than 180 days until 2022-01-01" in said


class Terminal(io.StringIO):
    """Standard input of a user who types answers."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_and_a_wrong_answer_is_asked_again(command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("sys.stdin", Terminal("nowhere:BTC/USD\nBTC/USD\nsoon\n2020\n\nsma\n\n"))
    monkeypatch.setattr(
        init, "draft_curriculum", lambda named, frames, first, *rest: asked.append((named, frames, first))
    )
    monkeypatch.setattr(init, "curriculum_text", lambda *args, **words: _stop(words["command"]))
    code, _, told = command("init")

    assert code == 2
    ((named, frames, first),) = asked  # type: ignore[misc]
    assert ([str(each) for each in named], first) == ([str(BTC_USD)], START)
    assert [each.name for each in frames] == ["M5", "M15", "H1"]
    assert told.count("Error: ") == 3
    assert "Pairs of coinbase: BTC/USD" in told
    assert (
        "would write: tradeschool init --pairs BTC/USD --from 2020 --timeframes M5,M15,H1 --strategy sma_cross" in told
    )


def _stop(command: str) -> str:
    raise SettingsError(f"would write: {command}")


def test_without_a_terminal_a_missing_option_is_named(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, told = command("init", "--from", "2020")

    assert code == 2
    assert "Missing option '--pairs'" in told
