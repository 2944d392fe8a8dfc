from pathlib import Path

import pytest

from optimizer.curriculum.level_files import load_levels
from optimizer.level.cost_presets import PRESETS, find_preset, presets_of
from optimizer.level.costs import Costs, costs_of
from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Market

LEVEL = """
[[level]]
name = "1"
title = "one"
direction = "both"
trials = 4
datasets = [{ dataset = "coinbase/BTC-USD/1h", timerange = "2021" }]
gate = { win_rate = 0, sharpe = 0, max_drawdown = 1, profit_factor = 1 }
ranges = { fast = [5, 20] }
"""


def test_each_preset_has_a_source_and_valid_rates() -> None:
    for name, preset in PRESETS.items():
        assert name == preset.name == name.lower()
        assert preset.source
        assert preset.meaning
        assert preset.known_on or preset.market is Market.FX
        assert Costs(**preset.rates).rates.keys() >= preset.rates.keys()
        assert 0 <= preset.fee_bps <= 60


def test_a_maker_pays_at_most_what_a_taker_pays() -> None:
    takers = [name for name in PRESETS if ".taker." in name]

    assert len(takers) == 13
    for name in takers:
        assert find_preset(name.replace("taker", "maker")).fee_bps <= find_preset(name).fee_bps


@pytest.mark.parametrize(
    ("name", "fee"),
    [
        ("coinbase.taker.0k", 60),
        ("coinbase.taker.10k", 40),
        ("coinbase.maker.10k", 25),
        ("coinbase.maker.75m", 3),
        ("binance.taker.regular", 10),
        ("binance.taker.regular.bnb", 7.5),
        ("binance.maker.vip2.bnb", 6),
        ("Coinbase.Taker.10K", 40),
    ],
)
def test_the_fees_are_those_of_the_source(name: str, fee: float) -> None:
    assert costs_of(name).crypto_fee_bps == fee


def test_a_taker_keeps_the_slippage_and_a_maker_pays_none() -> None:
    assert costs_of("coinbase.taker.10k").crypto_slippage_bps == Costs().crypto_slippage_bps > 0
    assert costs_of("coinbase.maker.10k").crypto_slippage_bps == 0


def test_an_unknown_preset_is_reported_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"unknown cost preset 'coinbase.takr.10k', nearest: coinbase.taker.10k, "):
        find_preset("coinbase.takr.10k")


def test_two_presets_of_a_market_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"coinbase.taker.0k and binance.taker.vip1 are both for crypto"):
        presets_of(["coinbase.taker.0k", "oanda.spread", "binance.taker.vip1"])


@pytest.mark.parametrize(
    "written",
    [
        'costs = "coinbase.taker.10k,oanda.spread"',
        'costs = ["coinbase.taker.10k", "oanda.spread"]',
        'costs = { preset = ["coinbase.taker.10k", "oanda.spread"] }',
        'costs = { preset = "coinbase.taker.10k,oanda.spread", fx_fee_bps = 0 }',
    ],
)
def test_a_level_names_its_presets(tmp_path: Path, written: str) -> None:
    file = tmp_path / "curriculum.toml"
    file.write_text(LEVEL + written)

    (level,) = load_levels(file)

    assert level.costs == costs_of("coinbase.taker.10k,oanda.spread")
    assert Costs.model_validate_json(level.costs.model_dump_json()) == level.costs
    assert level.costs.sentence.startswith("coinbase.taker.10k, oanda.spread; per side: crypto 40 bps fee and 2 bps")


def test_a_given_rate_has_precedence_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "curriculum.toml"
    file.write_text(LEVEL + 'costs = { preset = "coinbase.maker.10k", crypto_slippage_bps = 1.5 }')

    costs = load_levels(file)[0].costs

    assert (costs.crypto_fee_bps, costs.crypto_slippage_bps) == (25, 1.5)


def test_an_unknown_preset_of_a_level_is_reported_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "curriculum.toml"
    file.write_text(LEVEL + 'costs = "kraken.taker"')

    with pytest.raises(SettingsError, match=r"curriculum.toml:10: level.0.costs: .*unknown cost preset 'kraken.taker'"):
        load_levels(file)


def test_costs_without_presets_are_stored_as_before() -> None:
    assert "preset" not in Costs().model_dump()
    assert Costs().preset == ()
    assert costs_of("") == Costs()
