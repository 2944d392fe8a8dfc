"""Isolation of users' strategies during a command: a separate process for a search, a trial import for a backtest."""

import logging
from contextlib import AbstractContextManager

import click

from optimizer.level.spec import Level
from optimizer.strategies.protocol import Strategy, load
from tradeschool.app.context import load_settings
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import say
from workers.isolation.strategy_allowlist import user_code
from workers.isolation.strategy_host import StrategyHost, isolated_strategies
from workers.isolation.strategy_process import IsolationSettings

MEGABYTE = 1_000_000


def isolation(settings: Settings) -> AbstractContextManager[StrategyHost]:
    """Return a context in which each user's strategy is imported and run in a process of its own."""
    return isolated_strategies(_terms(settings), say)


def keep_isolated_strategies(settings: Settings) -> None:
    """Import and run each user's strategy in a separate process until the command ends."""
    click.get_current_context().with_resource(isolation(settings))


def load_here(name: str, settings: Settings | None = None) -> Strategy:
    """Return a strategy for a command that runs it in the command's process.

    A user's module is first imported in a separate process: one that ends its process, or never returns, is reported in
    one line. `settings` are by default those of the command.

    Raises:
        SettingsError: where there is no such module or object, or it is no strategy.
        StrategyNotImported: where its module raises, ends its process or does not end.
    """
    if ":" in name:
        with isolation(settings or load_settings()) as host:
            host.find(name)
    return load(name)


def load_code_here(level: Level) -> None:
    """Load a level's strategy, objectives and sampler as `load_here` does; raises the same errors."""
    load_here(level.strategy)
    others = [code for code in user_code([level]) if code.kind != "strategy"]
    if others:
        with isolation(load_settings()) as host:
            for code in others:
                host.import_code(code)


def _terms(settings: Settings) -> IsolationSettings:
    work = settings.work
    return IsolationSettings(
        trial_seconds=work.trial_timeout_seconds,
        import_seconds=work.import_timeout_seconds,
        memory_bytes=work.trial_memory_mb * MEGABYTE if work.trial_memory_mb else None,
        log_format=settings.log_format,
        log_level=logging.getLogger().level,
    )
