"""The options of every command that searches."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path

import click

from optimizer.level.search_methods import OBJECTIVES, PRUNERS, SAMPLERS
from optimizer.level.spec import Mode
from optimizer.runs.run_record import SURROGATES
from tradeschool.app.search.search_request import LIMITS

workers_option = click.option(
    "-j",
    "--workers",
    type=click.IntRange(*LIMITS["workers"]),
    help="Workers to start; 0 uses connected ones. [default: one per core if none is connected]",
)

Command = Callable[..., None]
OPTIONS = (
    click.option(
        "--curriculum",
        type=click.Path(path_type=Path),
        help="TOML file with levels. [default: built-in curriculum]",
    ),
    click.option("--level", "level_name", help="Search only this level."),
    click.option(
        "--strategy",
        help="Strategy of all levels, a built-in name or module:NAME, with its search ranges. [default: the level's]",
    ),
    click.option("--trials", type=click.IntRange(*LIMITS["trials"]), help="Trials per level. [default: the level's]"),
    click.option("--seed", type=click.IntRange(*LIMITS["seed"]), help="Seed of the search. [default: random]"),
    workers_option,
    click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        help="lagged: reproducible, independent of the number of workers; async: uses every result as soon as it "
        "arrives, not reproducible. [default: the level's, lagged]",
    ),
    click.option(
        "--objective",
        "objectives",
        multiple=True,
        help=f"Objective on train: {', '.join(OBJECTIVES)}, or module:NAME; repeat it for a Pareto front. "
        "[default: the level's, sharpe]",
    ),
    click.option(
        "--sampler",
        help=f"Sampler: {', '.join(SAMPLERS)}, or module:NAME; with options: cmaes,popsize=12. [default: the "
        "level's, tpe; nsgaii for several objectives]",
    ),
    click.option(
        "--pruner",
        help=f"Pruner: {', '.join(PRUNERS)}; with options: percentile,percentile=30. [default: the level's, median; "
        "none for several objectives]",
    ),
    click.option(
        "--early-stop",
        type=click.IntRange(*LIMITS["early_stop"]),
        help="Stop a search after this many trials without improvement.",
    ),
    click.option(
        "--min-trades",
        type=click.IntRange(*LIMITS["min_trades"]),
        help="Minimum trades on train; a third of it on validation.",
    ),
    click.option(
        "--constraint",
        "constraints",
        multiple=True,
        help='Additional constraint, for example "max_drawdown_intrabar <= 0.15"; repeatable.',
    ),
    click.option(
        "--costs", help="Cost presets of all levels, for example coinbase.taker.10k. [default: the level's costs]"
    ),
    click.option(
        "--surrogates",
        type=click.IntRange(*LIMITS["surrogates"]),
        default=SURROGATES,
        show_default=True,
        help="Null test: surrogate markets without skill in which the whole curriculum is repeated; 0 skips the test.",
    ),
)


def search_options(command: Command) -> Command:
    """Add all search options to a command."""
    return reduce(lambda decorated, option: option(decorated), reversed(OPTIONS), command)
