"""Users' strategies beside a command: run apart from a search, and tried out before a command runs one itself."""

import logging

import click

from optimizer.strategies.protocol import Strategy, load
from tradeschool.app.context import load_settings
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import say
from workers.isolation.strategy_host import isolated_strategies
from workers.isolation.strategy_process import IsolationSettings

MEGABYTE = 1_000_000


def keep_isolated_strategies(settings: Settings) -> None:
    """Until the running command ends, each user's strategy is imported and run in a process of its own."""
    click.get_current_context().with_resource(isolated_strategies(_terms(settings), say))


def load_here(name: str) -> Strategy:
    """A strategy for a command that runs it in its own process, in front of its user.

    A user's module is imported elsewhere first, so that one which ends its process or does not end is told in a line.

    Raises:
        SettingsError: where there is no such module or object, or it is no strategy.
        StrategyNotImported: where its module raises, ends its process or does not end.
    """
    if ":" in name:
        with isolated_strategies(_terms(load_settings()), say) as host:
            host.find(name)
    return load(name)


def _terms(settings: Settings) -> IsolationSettings:
    work = settings.work
    return IsolationSettings(
        trial_seconds=work.trial_timeout_seconds,
        memory_bytes=work.trial_memory_mb * MEGABYTE if work.trial_memory_mb else None,
        log_format=settings.log_format,
        log_level=logging.getLogger().level,
    )
