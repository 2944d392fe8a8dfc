"""Examples in the help text of each command. A test parses every one, so that each is a valid command line."""

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("demo", "init --pairs BTC/USD --from 2020", "up --seed 7"),
    "up": ("up --seed 7 --workers 4", "up --curriculum curriculum.toml"),
    "down": ("down",),
    "demo": ("demo", "demo --folder /tmp/demo"),
    "init": ("init", "init --pairs SOL/USD,oanda:EUR/USD --from 2020 --timeframes M15,H1"),
    "clean": ("clean", "clean --older-than 90 --dry-run", "clean RUN --yes", "clean --caches --yes"),
    "completion": ("completion bash", "completion fish"),
    "fetch": ("fetch --dry-run", "fetch --pairs BTC/USD --timeframes M5,H1 --timerange 2020-2024", "fetch --follow"),
    "markets": ("markets search sol",),
    "markets list": ("markets list coinbase",),
    "markets search": ("markets search sol",),
    "markets show": ("markets show BTC/USD",),
    "data": ("data status", "data gaps coinbase/BTC-USD/M5"),
    "data status": ("data status", "data status --json"),
    "data gaps": ("data gaps coinbase/BTC-USD/M5",),
    "data findings": ("data findings coinbase/BTC-USD/M5",),
    "data verify": ("data verify", "data verify coinbase/BTC-USD/M5"),
    "data account": ("data account",),
    "data repair": ("data repair coinbase/BTC-USD/M5",),
    "data import": (
        "data import BTCUSDT-1m-2023-01.zip --dry-run",
        "data import candles/ --dataset coinbase/BTC-USD/M5",
    ),
    "data export": ("data export coinbase/BTC-USD/H1 --out btc.csv",),
    "optimize": ("optimize run --seed 7", "optimize status", "optimize list RUN --feasible --sort sharpe -n 10"),
    "optimize run": ("optimize run --seed 7 -j 4", "optimize run --curriculum curriculum.toml --level 1 --trials 200"),
    "optimize resume": ("optimize resume RUN -j 4",),
    "optimize plan": ("optimize plan", "optimize plan --curriculum curriculum.toml"),
    "optimize status": ("optimize status", "optimize status RUN --json"),
    "optimize list": (
        "optimize list",
        "optimize list RUN --profitable --min-trades 50 --max-drawdown 0.2 --sort sharpe -n 10",
        "optimize list RUN --level 2 --best --export-csv best.csv",
        "optimize list RUN --min calmar=0.5 --max fast=20 --print-json",
    ),
    "optimize show": ("optimize show RUN", "optimize show RUN --index 17 --print-json"),
    "optimize best": ("optimize best RUN -n 5", "optimize best RUN OTHER_RUN"),
    "optimize verify": ("optimize verify RUN 17",),
    "optimize export": (
        "optimize export RUN --out trials.parquet --format parquet",
        "optimize export RUN --out trials.xlsx --format xlsx",
    ),
    "optimize compare": ("optimize compare RUN OTHER_RUN --level 1",),
    "optimize null": ("optimize null RUN --surrogates 200",),
    "optimize report": (
        "optimize report RUN",
        "optimize report RUN --quantstats returns.csv",
        "optimize report RUN --svg plots",
    ),
    "forward": ("forward RUN --watch",),
    "forward run": ("forward run RUN --watch", "forward run RUN --replay 2024-01-01..2025-01-01"),
    "forward list": ("forward list",),
    "forward show": ("forward show RUN --json",),
    "backtest": (
        "backtest sma_cross -p fast=20 -p slow=100 --dataset coinbase/BTC-USD/H1",
        "backtest --parameters results/RUN/1/best_params.json",
    ),
    "costs": ("costs list",),
    "costs list": ("costs list",),
    "costs show": ("costs show coinbase.taker.10k",),
    "strategy": ("strategy list", "strategy new my_idea"),
    "strategy list": ("strategy list",),
    "strategy new": ("strategy new my_idea",),
    "strategy check": ("strategy check my_idea:STRATEGY",),
    "strategy publish": ("strategy publish my_idea:STRATEGY",),
    "worker": ("worker start -n 4", "worker list"),
    "worker start": ("worker start -n 4",),
    "worker list": ("worker list",),
    "worker scale": ("worker scale 8",),
    "worker drain": ("worker drain",),
    "worker health": ("worker health", "worker health --ready --json"),
    "standby": ("standby",),
    "queue": ("queue status", "queue watch"),
    "queue status": ("queue status --json",),
    "queue url": ("queue url",),
    "queue watch": ("queue watch",),
    "queue failed": ("queue failed",),
    "queue requeue": ("queue requeue",),
    "serve": ("serve",),
    "exchange": ("exchange --port 8790",),
    "compile": ("compile",),
    "config": ("config show",),
    "config show": ("config show", "config show --json"),
    "config validate": ("config validate",),
    "doctor": ("doctor", "doctor --offline --json"),
}
"""Command, without the program's name -> command lines, without the program's name."""


def examples_of(name: str) -> str | None:
    """Return the examples of a command as the last part of its help text; None without examples."""
    found = EXAMPLES.get(name)
    return "\b\nExamples:\n" + "\n".join(f"  tradeschool {line}" for line in found) if found else None


def add_examples(command: click.Command, name: str) -> None:
    """Put the examples of a command and of its subcommands at the end of their help texts."""
    command.epilog = examples_of(name)
    if isinstance(command, click.Group):
        for part, each in command.commands.items():
            add_examples(each, f"{name} {part}")
