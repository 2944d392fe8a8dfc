"""`tradeschool init`: write settings and a curriculum for a user's own pairs."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from itertools import groupby
from pathlib import Path

import click

from optimizer.curriculum.level_files import load_levels
from optimizer.strategies.protocol import load
from optimizer.strategies.registry import built_in_names
from tradeschool.app.context import load_settings
from tradeschool.app.download.product_lists import known_to_providers
from tradeschool.app.new_project.curriculum_draft import draft_curriculum
from tradeschool.app.new_project.curriculum_text import curriculum_text
from tradeschool.app.new_project.settings_text import settings_text
from tradeschool.app.search.strategy_isolation import keep_isolated_strategies
from tradeschool.atomic_files import publish_text
from tradeschool.cli.options.parameters import DEFAULT_STRATEGY
from tradeschool.errors import SettingsError, StoreUnwritable, TradeschoolError
from tradeschool.markets.catalogue import INSTRUMENTS, find_instrument
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, find_timeframes
from tradeschool.markets.timerange import parse_day, settled_day
from tradeschool.object_storage.bucket_url import BucketUrl
from tradeschool.settings.model import SETTINGS_FILE, Settings
from tradeschool.store import Store
from tradeschool.views.terminal import say

CURRICULUM_FILE = "curriculum.toml"


@click.command()
@click.option("--pairs", help="Pairs, for example SOL/USD,oanda:EUR/USD. [default: asked on a terminal]")
@click.option("--from", "first", help="First day, for example 2020 or 2020-06-01. [default: asked on a terminal]")
@click.option("--to", "last", help="Day after the last one. [default: that of the stored candles]")
@click.option("--timeframes", help="Timeframes, for example M5,H1 or 1m,4h. [default: M5,M15,H1]")
@click.option("--strategy", help="Strategy of the levels: a built-in name or module:NAME. [default: sma_cross]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), show_default=True, help="Folder of the two files."
)
@click.option("--force", is_flag=True, help="Replace both files if they exist.")
def init(
    pairs: str | None,
    first: str | None,
    last: str | None,
    timeframes: str | None,
    strategy: str | None,
    out: Path,
    *,
    force: bool,
) -> None:
    """Write tradeschool.toml and curriculum.toml for your own pairs.

    Windows of bull and bear markets are found on the stored candles by a rule that is written beside them. Without
    --force, an existing curriculum is refused and existing settings are kept. Without options, the command asks for
    pairs, days, timeframes and strategy.
    """
    settings = load_settings()
    keep_isolated_strategies(settings)
    curriculum, settings_file = out / CURRICULUM_FILE, out / SETTINGS_FILE
    if curriculum.exists() and not force:
        raise SettingsError(f"{curriculum} exists; choose another folder with --out, or replace it with --force")
    with known_to_providers(settings):
        if pairs is None and first is None and sys.stdin.isatty():
            pairs, first, timeframes, strategy = _asked(timeframes, strategy)
        pairs, first = _given("--pairs", pairs), _given("--from", first)
        named = _instruments(pairs)
        frames = find_timeframes(timeframes) if timeframes else DEFAULT_TIMEFRAMES
        end = parse_day(last) if last else datetime.combine(settled_day(), time(), UTC)
        draft = draft_curriculum(named, tuple(frames), parse_day(first), end, Store(settings.data_location()), strategy)
        given = {"--pairs": pairs, "--from": first, "--to": last, "--timeframes": timeframes, "--strategy": strategy}
        _write(out, curriculum, curriculum_text(draft, command=_command_line(given), file=CURRICULUM_FILE))
        load_levels(curriculum)
    say(f"written: {curriculum}")
    _write_settings(settings, settings_file, force=force)
    for level in draft.levels:
        for note in draft.notes[level.name]:
            say(f"level {level.name}: {note}")
    _say_next_steps(curriculum)


def _write_settings(settings: Settings, path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        say(f"kept: {path} exists")
    else:
        _write(path.parent, path, _settings_of(settings, path.parent))
        say(f"written: {path}")


def _command_line(given: Mapping[str, str | None]) -> str:
    """Return the command with the options that were given, for the comment in the file."""
    words = [word for option, value in given.items() if value for word in (option, value)]
    return shlex.join(["tradeschool", "init", *words])


def _say_next_steps(curriculum: Path) -> None:
    named_file = shlex.quote(str(curriculum))
    say(f"next: tradeschool optimize plan --curriculum {named_file}")
    say(f"then: tradeschool fetch --holdout --curriculum {named_file}")
    say(f"then: tradeschool optimize run --curriculum {named_file}")


def _instruments(pairs: str) -> list[Instrument]:
    return list(dict.fromkeys(find_instrument(pair) for pair in pairs.split(",")))


def _given(option: str, value: str | None) -> str:
    if value is None:
        raise click.MissingParameter(param_hint=f"'{option}'", param_type="option")
    return value


def _asked(timeframes: str | None, strategy: str | None) -> tuple[str, str, str | None, str | None]:
    """Ask for pairs, first day, timeframes and strategy; a wrong answer is explained and asked again."""
    say(f"This writes {SETTINGS_FILE} and {CURRICULUM_FILE}. Enter accepts the value in brackets; Ctrl-C ends it.")
    for provider, each in groupby(INSTRUMENTS, key=lambda instrument: instrument.provider):
        say(f"Pairs of {provider}: {', '.join(f'{one.base}/{one.quote}' for one in each)}")
    say("Further pairs: tradeschool markets search. OANDA needs a token, the others none.")
    pairs = click.prompt("pairs", default="BTC/USD", value_proc=_checked(_instruments), err=True)
    first = click.prompt("first day", default="2020", value_proc=_checked(parse_day), err=True)
    frames = timeframes or click.prompt(
        "timeframes",
        default=",".join(each.name for each in DEFAULT_TIMEFRAMES),
        value_proc=_checked(find_timeframes),
        err=True,
    )
    names = ", ".join(built_in_names())
    chosen = strategy or click.prompt(
        f"strategy ({names}, or module:NAME)", default=DEFAULT_STRATEGY, value_proc=_checked(load), err=True
    )
    return pairs, first, frames, chosen


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a check of an answer: the answer itself, or a usage error that click shows before it asks again."""

    def check(answer: str) -> str:
        try:
            parse(answer)
        except TradeschoolError as error:
            raise click.UsageError(str(error)) from None
        return answer

    return check


def _settings_of(settings: Settings, out: Path) -> str:
    """Return the settings file; in another folder than the current one, it names the data folder by its full path."""
    is_here = out.resolve() == Path.cwd()
    data_dir = settings.data_dir if isinstance(settings.data_dir, BucketUrl) else settings.data_dir.resolve()
    return settings_text(settings, {} if is_here else {("data_dir",): data_dir})


def _write(folder: Path, path: Path, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnwritable(f"cannot create {folder}: {os.strerror(error.errno or 0)}") from error
    publish_text(folder, path, text)
