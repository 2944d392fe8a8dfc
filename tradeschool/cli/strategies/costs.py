"""`tradeschool costs`: list and show the presets of trading costs."""

import click
from rich.table import Table

from optimizer.level.cost_presets import PRESETS, CostPreset, find_preset
from tradeschool.cli.options.output import json_option
from tradeschool.views.terminal import console, print_json


@click.group()
def costs() -> None:
    """List and show presets of trading costs."""


@costs.command(name="list")
@json_option
def list_presets(*, as_json: bool) -> None:
    """List all presets with their fees per side."""
    if as_json:
        print_json([_as_object(preset) for preset in PRESETS.values()])
        return
    table = Table("preset", "fee per side", "slippage per side", "meaning", "date")
    for preset in PRESETS.values():
        table.add_row(preset.name, f"{preset.fee_bps:g} bps", _slippage(preset), preset.meaning, _day(preset))
    console().print(table)


@costs.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show one preset with its source."""
    preset = find_preset(name)
    if as_json:
        print_json(_as_object(preset))
        return
    for line in (
        f"{preset.name}: {preset.meaning}",
        f"fee {preset.fee_bps:g} bps per side, slippage {_slippage(preset)}",
        f"source: {preset.source}",
        f"date of the source: {_day(preset)}",
        f'use it: costs = "{preset.name}" in a level or in tradeschool.toml, or --costs {preset.name}',
    ):
        console().print(line, soft_wrap=True, highlight=False)


def _slippage(preset: CostPreset) -> str:
    slippage = preset.rates.get(f"{preset.market.value}_slippage_bps")
    return "the level's" if slippage is None else f"{slippage:g} bps"


def _day(preset: CostPreset) -> str:
    return f"{preset.known_on or 'that of each candle'}"


def _as_object(preset: CostPreset) -> dict[str, object]:
    return {
        "name": preset.name,
        "market": preset.market.value,
        "rates": dict(preset.rates),
        "meaning": preset.meaning,
        "source": preset.source,
        "date": preset.known_on.isoformat() if preset.known_on else None,
    }
