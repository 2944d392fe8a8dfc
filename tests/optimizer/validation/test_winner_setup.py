"""Trading setup: a backtest reports its differences from a run's winner."""

from dataclasses import replace

import pytest

from optimizer.level.costs import Costs
from optimizer.level.spec import Direction, Part
from optimizer.objective.objective import prepare_level
from optimizer.validation.winner_setup import BacktestSetup, ChosenTrial, WinnerSetup, differences, setup_of
from tests.factories.levels import PARAMETERS, level_of, read_made
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_timerange

LEVEL = level_of(("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"))
DIGESTS = {f"{each.dataset} {each.window.name}": f"digest{place}" for place, each in enumerate(LEVEL.datasets)}
CHOSEN = ChosenTrial(run="r1", attempt=1, number=3, parameters=PARAMETERS)
SETUP = setup_of(LEVEL, CHOSEN, code="c0de", digests=DIGESTS)
BTC, EUR = (each.source for each in SETUP.datasets)


def traded(part: Part) -> BacktestSetup:
    return BacktestSetup(
        strategy=SETUP.strategy,
        direction=SETUP.direction,
        parameters=PARAMETERS,
        position_fraction=1.0,
        costs=Costs(),
        windows=SETUP.windows(part),
        warm_ups=[each.warm_up_bars for each in SETUP.datasets],
    )


def test_a_setup_has_the_judged_bars_of_its_level() -> None:
    for part in Part:
        for each, prepared in zip(SETUP.datasets, prepare_level(LEVEL, part, read_made), strict=True):
            assert (each.window(part), each.warm_up_bars) == (prepared.window, prepared.first_evaluated)


def test_a_setup_survives_a_file_round_trip() -> None:
    assert WinnerSetup.model_validate_json(SETUP.model_dump_json()) == SETUP
    assert [each.candles for each in SETUP.datasets] == ["digest0", "digest1"]


@pytest.mark.parametrize("part", Part)
def test_an_equal_setup_has_no_difference(part: Part) -> None:
    assert differences(SETUP, part, traded(part)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"strategy": "donchian_breakout"}, "strategy donchian_breakout instead of sma_cross"),
        ({"direction": Direction.LONG}, "direction long instead of both"),
        ({"parameters": {**PARAMETERS, "stop_atr": 2.5}}, "stop_atr 2.5 instead of 2"),
        ({"position_fraction": 0.5}, "position fraction 0.5 instead of 1"),
        ({"costs": Costs(crypto_fee_bps=0.0)}, "crypto_fee_bps 0 instead of 5"),
        ({"windows": SETUP.windows(Part.TRAIN)[::-1]}, "datasets in a different order or number"),
        ({"warm_ups": [94, 94]}, f"warm-up of 94 bars instead of 60 of {BTC}, {EUR}"),
        ({"windows": SETUP.windows(Part.TRAIN)[:1], "warm_ups": [60]}, f"no candles of {EUR}"),
        (
            {"windows": [*SETUP.windows(Part.TRAIN)[:1], (EUR, parse_timerange("20210303-20210328"))]},
            f"days 20210303-20210328 instead of 20210303-20210327 of {EUR}",
        ),
        (
            {
                "windows": [
                    *SETUP.windows(Part.TRAIN),
                    (find_dataset("coinbase/ETH-USD/M15"), SETUP.datasets[0].whole),
                ],
                "warm_ups": [60, 60, 60],
            },
            "additional candles of coinbase/ETH-USD/M15",
        ),
    ],
)
def test_each_difference_is_one_phrase_of_the_report(change: dict[str, object], told: str) -> None:
    assert differences(SETUP, Part.TRAIN, replace(traded(Part.TRAIN), **change)) == [told]
