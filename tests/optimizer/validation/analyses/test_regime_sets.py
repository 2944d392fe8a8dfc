"""Parameters by regime: a planted edge is found, noise is not, and no choice or label uses later prices."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from optuna.trial import FrozenTrial

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Gate, Level, MinTrades, Part, Split
from optimizer.objective.choices import Choice, trade_choices
from optimizer.objective.metrics import figures
from optimizer.objective.objective import evaluate, prepare_level
from optimizer.objective.portfolio import portfolio
from optimizer.search.sampler import TrialRequest
from optimizer.search.space import distributions
from optimizer.search.trials import TrialOrigin, finished_trial
from optimizer.validation.analyses.regime_choice import TRENDS, RegimeSearch, choose_sets, places_of
from optimizer.validation.analyses.regime_sets import regime_sets
from optimizer.validation.analyses.regimes import Trend, label
from optimizer.validation.statistics.paired_difference import paired_differences
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

NAME = "coinbase/BTC-USD/H1"
ANY = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
NO_WORKER = TrialOrigin(worker="", started=0.0, seconds=0.0)


def made_level(**fields: object) -> Level:
    given = {
        "name": "3",
        "title": "Both",
        "direction": Direction.BOTH,
        "strategy": "tests.factories.side_strategy:ONE_SIDE",
        "trials": 2,
        "datasets": (LevelDataset(dataset=NAME, start=date(2020, 1, 1), end=date(2023, 1, 1)),),
        "gate": ANY,
        "min_trades": MinTrades(train=30, validation=1),
        "drawdown_limit": 1.0,
        "ranges": {"side": (0, 1)},
        "costs": {"crypto_fee_bps": 0.5, "crypto_slippage_bps": 0.0},
        **fields,
    }
    return Level.model_validate(given)


def read_cycles(dataset: Dataset, window: Window) -> CandleArrays:
    """Years of rises and falls of 150 days: the trend of the last fifty days mostly goes on."""
    return _walk(dataset, window, drift=0.006)


def read_walk(dataset: Dataset, window: Window) -> CandleArrays:
    """No drift at all."""
    return _walk(dataset, window, drift=0.0)


def _walk(dataset: Dataset, window: Window, drift: float) -> CandleArrays:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    hours = np.arange(3 * 366 * 24)
    sign = np.where(hours // (150 * 24) % 2, -1.0, 1.0)
    moves = drift / 24 * sign + np.random.default_rng(11).normal(0, 0.012 / 24**0.5, len(hours))
    close = np.rint(2_000_000 * np.exp(np.cumsum(moves)))
    opened = np.concatenate((close[:1], close[:-1]))
    times = int(first.timestamp()) + hours * 3600
    kept = (times >= window.start_seconds) & (times < window.end_seconds)
    columns = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
    }
    prices = {name: values[kept] / 100 for name, values in columns.items()}
    return CandleArrays(dataset=dataset, time=times[kept], volume=np.ones(kept.sum()), half_spread=None, **prices)


def read_slots(dataset: Dataset, window: Window) -> CandleArrays:
    """A random walk on the dataset's own grid, whose H4 and D1 candles of FX cross midnight."""
    times = expected_slots(dataset, window)
    close = np.rint(100_000 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, len(times)))))
    opened = np.concatenate((close[:1], close[:-1]))
    columns = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    prices = {name: values * dataset.instrument.tick for name, values in columns.items()}
    spread = np.full(len(times), dataset.instrument.tick) if dataset.instrument.market is Market.FX else None
    return CandleArrays(dataset=dataset, time=times, volume=np.ones(len(times)), half_spread=spread, **prices)


def search_of(level: Level, read, single: int = 1) -> RegimeSearch:
    train = prepare_level(level, Part.TRAIN, read)
    trials: list[FrozenTrial] = []
    for number in (0, 1):
        request = TrialRequest(number=number, parameters={"side": number}, thresholds=(), known=None)
        trials.append(
            finished_trial(request, distributions(level), evaluate(level, train, {"side": number}, ()), NO_WORKER)
        )
    return RegimeSearch(
        number=1,
        trials=trials,
        train=train,
        single=Choice(parameters={"side": single}),
        judged={part: prepare_level(level, part, read) for part in (Part.VALIDATION, Part.TEST)},
    )


def labels_of(level: Level, read):
    return {each.dataset: label(read(each.source, each.window)) for each in level.datasets}


@pytest.fixture(scope="module")
def planted():
    level = made_level(split=Split(train=0.4, validation=0.4, test=0.2))
    return level, search_of(level, read_cycles), labels_of(level, read_cycles)


def test_a_planted_edge_by_regime_is_adopted(planted) -> None:
    level, search, labels = planted
    found = regime_sets(level, [search], labels, seed=7)

    assert found["sets"]["bull"]["trial"] == 1
    assert found["sets"]["bear"]["trial"] == 0
    assert found["adopted"] is True
    assert found["conclusion"] == "parameter sets by regime"
    gain = found["out_of_sample"]
    assert gain["differences"]["sharpe"]["low"] > 0
    assert gain["sets"]["sharpe"] > gain["single"]["sharpe"] + 1
    assert found["test"]["part"] == "test"
    assert "one parameter set" in found["winner"]


def test_the_gain_is_the_paired_difference_of_both_accounts(planted) -> None:
    level, search, labels = planted
    found = regime_sets(level, [search], labels, seed=7)["out_of_sample"]
    single = trade_choices(level, search.judged[Part.VALIDATION], [search.single])
    sets = choose_sets(level, search, labels).judged[Part.VALIDATION]
    expected = paired_differences(portfolio(single), portfolio(sets), 7).by_metric["sharpe"]

    assert found["differences"]["sharpe"] == pytest.approx(
        {"value": expected.value, "low": expected.low, "high": expected.high}
    )
    assert found["single"]["sharpe"] == figures(single)["sharpe"]
    assert found["sets"]["trades"] == figures(sets)["trades"]


def test_the_deflated_sharpe_ratio_counts_the_choices_by_regime(planted) -> None:
    level, search, labels = planted
    found = regime_sets(level, [search], labels, seed=7)

    assert found["added_trials"] == 2 * len(TRENDS)
    assert found["deflated_sharpe"]["single"]["trials"] == 2
    assert found["deflated_sharpe"]["sets"]["trials"] == 2 + 2 * len(TRENDS)


def test_without_drift_one_parameter_set_stays() -> None:
    level = made_level(split=Split(train=0.4, validation=0.4, test=0.2))
    found = regime_sets(level, [search_of(level, read_walk)], labels_of(level, read_walk), seed=7)

    assert (found["adopted"], found["conclusion"]) == (False, "one parameter set")
    assert "its lower limit is not above zero" in found["reason"]


def test_sets_enter_on_bars_of_their_regime_alone(planted) -> None:
    level, search, labels = planted
    for bars, run in zip(search.train, choose_sets(level, search, labels).train, strict=True):
        places = places_of(labels[NAME], bars)[run.trades["entry_bar"] - 1]
        sides = run.trades["side"]
        assert set(sides[places == TRENDS.index(Trend.BULL)]) == {1}
        assert set(sides[places == TRENDS.index(Trend.BEAR)]) == {-1}
        assert set(sides[places == len(TRENDS)]) <= {1}  # unlabelled bars: the single set


def test_days_out_of_sample_change_no_choice(planted) -> None:
    level, search, labels = planted

    def other(dataset: Dataset, window: Window) -> CandleArrays:
        """Equal on train, another market after it."""
        one, two = read_cycles(dataset, window), read_walk(dataset, window)
        split = level.window(level.datasets[0], Part.TRAIN).end.timestamp()
        columns = {
            name: np.where(one.time < split, getattr(one, name), getattr(two, name))
            for name in ("open", "high", "low", "close")
        }
        return CandleArrays(dataset=dataset, time=one.time, volume=one.volume, half_spread=None, **columns)

    changed = choose_sets(level, search_of(level, other), labels_of(level, other))
    kept = choose_sets(level, search, labels)

    assert changed.by_trend == kept.by_trend
    assert changed.size == kept.size


@pytest.mark.parametrize("name", ["coinbase/BTC-USD/H1", "oanda/EUR-USD/H4", "coinbase/BTC-USD/D1", "oanda/EUR-USD/D1"])
def test_the_regime_of_a_bar_is_known_at_its_close(name: str) -> None:
    """Without the candles after a bar, its regime is the same: for H4 and D1, which cross midnight, as well."""
    source = find_dataset(name)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    level = made_level(
        datasets=(LevelDataset(dataset=name, start=start.date(), end=(start + timedelta(days=300)).date()),),
        split=Split(train=1, validation=0, test=0),
    )
    bars = prepare_level(level, Part.TRAIN, read_slots)[0]
    candles = read_slots(source, level.datasets[0].window)
    whole = places_of(label(candles), bars)
    checked = np.random.default_rng(3).choice(len(bars), size=min(60, len(bars)), replace=False)

    assert len(set(whole.tolist())) == len(TRENDS) + 1
    for bar in checked:
        until = slice(None, int(bar) + 1)
        known = CandleArrays(
            dataset=source,
            time=candles.time[until],
            **{column: getattr(candles, column)[until] for column in ("open", "high", "low", "close", "volume")},
            half_spread=None if candles.half_spread is None else candles.half_spread[until],
        )
        assert places_of(label(known), bars)[bar] == whole[bar]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"direction": Direction.LONG}, "the level trades long only"),
        ({"strategy": "tests.factories.strategies:FIRST_RISE", "ranges": {}}, "decides bar by bar"),
    ],
)
def test_a_level_that_has_no_sets_by_regime_says_why(planted, fields: dict, said: str) -> None:
    _, search, labels = planted
    found = regime_sets(made_level(**fields), [search], labels, seed=7)

    assert (found["available"], found["adopted"], found["conclusion"]) == (False, False, "one parameter set")
    assert said in found["reason"]


def test_without_a_feasible_trial_the_account_stays_in_cash(planted) -> None:
    level, search, labels = planted
    empty = RegimeSearch(number=1, trials=[], train=search.train, single=Choice(parameters=None), judged=search.judged)
    found = regime_sets(level, [empty], labels, seed=7)

    assert found["adopted"] is False
    assert found["out_of_sample"]["sets"]["trades"] == 0
    assert found["sets"]["bull"]["trial"] is None
