"""Plots and daily returns of a report: their figures, their palette, and which plots a report has."""

import io
import math
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from optimizer.report.page import drawn
from optimizer.report.plots.account import monthly_returns, power
from optimizer.report.plots.curves import _moves
from optimizer.report.plots.plot_set import Plot, account_plots, report_plots, search_plots
from optimizer.report.plots.style import BLUE, PALETTE, themed
from optimizer.report.returns_file import returns_file, returns_table
from optimizer.validation.analyses.regimes import Trend, trends
from tradeschool.errors import SettingsError

FIRST = (date(2021, 1, 30) - date(1970, 1, 1)).days
EQUITY = {
    "days": [FIRST, FIRST + 1, FIRST + 2, FIRST + 3],
    "part": ["train", "train", "validation", "validation"],
    "equity": [1.1, 1.21, 0.9, 0.99],
    "drawdown": [0.0, 0.0, 0.1, 0.01],
    "buy_and_hold": [1.0, 1.0, 1.0, 2.0],
}


def search(count: int) -> dict[str, object]:
    """The trials of a search over two parameters."""
    rng = np.random.default_rng(3)
    fast, stop = rng.integers(5, 50, count).tolist(), rng.uniform(1, 5, count).tolist()
    return {
        "objective": "sharpe",
        "winner": 2,
        "importance": {"stop": 0.7, "fast": 0.3},
        "trials": list(range(count)),
        "values": [value / 10 for value in fast],
        "feasible": [number % 3 > 0 for number in range(count)],
        "parameters": {"fast": fast, "stop": stop},
    }


def level(**fields: object) -> dict[str, object]:
    return {
        "level": "1",
        "equity": EQUITY,
        "trades": {"validation": [0.01, -0.02, 0.03]},
        "search": search(24),
        **fields,
    }


def report(*levels: dict[str, object]) -> dict[str, object]:
    return {
        "run": "r1",
        "levels": [*levels],
        "recommendation": {"level": "1", "skill": {"out_of_sample": {"days": 100, "sharpe": 1.0}}},
        "evidence": None,
    }


def test_months_are_compounded_and_each_part_starts_at_one() -> None:
    found = monthly_returns(EQUITY["days"], EQUITY["part"], EQUITY["equity"])  # type: ignore[arg-type]

    assert found[2021, 1] == pytest.approx(0.21)
    assert found[2021, 2] == pytest.approx(-0.01)


def test_the_power_is_the_error_rate_without_skill_and_grows_with_years() -> None:
    short, long = (power(np.array([0.0, 1.0]), years, 0.05) for years in (1.0, 9.0))

    assert short[0] == pytest.approx(0.05)
    # z = 1.6449: P(Z > 1.6449 - 3) for a Sharpe ratio of 1 over nine years.
    assert long[1] == pytest.approx(0.5 * math.erfc((1.6448536 - 3) / math.sqrt(2)), rel=1e-6)
    assert long[1] > short[1]


def test_the_start_of_a_part_is_no_move_of_the_market() -> None:
    moves = _moves(np.array([1.0, 1.5, 1.02, 1.02]), ["train", "train", "test", "test"])

    assert np.exp(moves) == pytest.approx([1.5, 1.02, 1.0])


def test_a_trend_needs_enough_days_before_it() -> None:
    rising = np.where(np.arange(60) % 2, 0.03, -0.01)

    assert trends(rising)[:50] == [None] * 50
    assert set(trends(rising)[50:]) == {Trend.BULL}


def test_a_report_has_every_plot_under_its_own_name() -> None:
    names = [plot.name for plot in report_plots(report(level()))]
    kinds = ["equity", "monthly", "trades", "importance", "slices", "contour", "parallel"]

    assert names == [*(f"level-1-{kind}" for kind in kinds), "power"]


def test_a_search_with_few_trials_and_a_level_without_winner_have_no_plots() -> None:
    assert [*search_plots(level(search=search(5)))] == []
    assert [*account_plots({"level": "1", "equity": None, "trades": None, "windows": None})] == []


def test_parameters_on_one_line_and_equal_values_are_drawn_without_a_contour() -> None:
    fast = [float(number) for number in range(24)]
    for values in (fast, [1.0] * 24):
        found = {**search(24), "values": values, "parameters": {"fast": fast, "stop": [2 * each for each in fast]}}
        assert {plot.name for plot in search_plots(level(search=found))} >= {"contour", "parallel"}


def test_windows_are_drawn_with_cash() -> None:
    row = {"window": 1, "first_day": "2021-01-01", "end": "2021-02-01", "trial": None, "train": {}, "validation": {}}
    other = {**row, "window": 2, "trial": 4, "train": {"sharpe": 1.0}, "validation": {"sharpe": -0.5}}

    (plot,) = account_plots({"level": "1", "windows": {"windows": [row, other]}})
    assert plot.name == "windows"
    assert plot.svg.count(b"<text") == 0  # text is drawn as paths, so a viewer needs no font


def test_a_page_draws_in_its_own_colours_with_a_title_for_screen_readers() -> None:
    plot = Plot("p", 'Equity of <"one">', f'<?xml?><svg width="1"><path style="fill: {BLUE}"/></svg>'.encode())
    shown = str(drawn(plot))

    assert shown.startswith('<svg role="img" aria-label="Equity of &lt;&#34;one&#34;&gt;"')
    assert "var(--blue)" in shown
    assert not [colour for colour in PALETTE if colour in shown]


def test_every_plot_uses_the_palette_alone() -> None:
    for plot in report_plots(report(level())):
        rest = themed(plot.svg.decode())
        assert "fill: #" not in rest, plot.name
        assert "stroke: #" not in rest, plot.name


def test_daily_returns_are_those_out_of_sample(tmp_path: Path) -> None:
    table = returns_table(report(level()), None)

    assert table["date"].to_list() == [date(2021, 2, 1), date(2021, 2, 2)]
    assert table["strategy"].to_list() == pytest.approx([-0.1, 0.1])
    assert table["benchmark"].to_list() == pytest.approx([0.0, 1.0])
    assert table["part"].unique().to_list() == ["validation"]
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet)):
        found = read(io.BytesIO(returns_file(table, tmp_path / f"returns{suffix}")))
        assert found["strategy"].to_list() == table["strategy"].to_list()


def test_pandas_reads_the_returns_as_a_series_by_day(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    file = tmp_path / "returns.csv"
    file.write_bytes(returns_file(returns_table(report(level()), None), file))
    frame = pandas.read_csv(file, index_col="date", parse_dates=True)

    assert isinstance(frame.index, pandas.DatetimeIndex)
    assert frame["strategy"].dtype == float


def test_the_holdout_period_belongs_to_the_evaluated_level() -> None:
    look = {
        "days": [FIRST + 9],
        "equity": [1.05],
        "drawdown": [0.0],
        "buy_and_hold": [1.02],
        "benchmark": "buy and hold",
    }
    both = {**report(level(), level(level="2")), "evidence": {"level": "1", "holdout": look}}

    assert returns_table(both, None)["part"].to_list() == ["validation", "validation", "holdout"]
    assert returns_table(both, "2")["part"].to_list() == ["validation", "validation"]
    assert "holdout" in [plot.name for plot in report_plots(both)]


@pytest.mark.parametrize("name", ["3", "2"])
def test_a_level_without_returns_is_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match=f"level '?{name}"):
        returns_table(report(level(), level(level="2", equity=None)), name)


def test_another_file_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a file that ends with"):
        returns_file(returns_table(report(level()), None), tmp_path / "returns.txt")
