"""The program: which commands there are, and how any of them ends.

Nothing heavy is imported here, so that `--help` answers at once; a command's module is imported when it runs.
"""

import importlib
import signal
import sys
from pathlib import Path

import click

from tradeschool.cli.hang_up import end_with_the_terminal
from tradeschool.errors import TradeschoolError
from tradeschool.private import let_no_stranger_write

COMMANDS = {
    "up": ("up:up", "Do everything on this machine: fetch, search, judge."),
    "down": ("up:down", "Stop the embedded parts."),
    "demo": ("demo:demo", "See it work: no key, no internet, under a minute."),
    "fetch": ("fetch:fetch", "Download candles and seal them."),
    "data": ("data:data", "What is on disk: status, gaps, findings, verify, repair, import, export."),
    "optimize": ("optimize:optimize", "Search parameters and judge them: run, resume, list, show, export."),
    "backtest": ("backtest:backtest", "Trade one strategy with one set of parameters."),
    "strategy": ("strategy:strategy", "Strategies: list, new, check."),
    "worker": ("worker:worker", "Evaluate trials: start, list, scale, drain."),
    "queue": ("queue:queue", "What waits, runs and failed: status, watch, failed, requeue."),
    "serve": ("serve:serve", "The page, its API and metrics: everything live, in a browser."),
    "exchange": ("exchange:exchange", "Serve candles as Coinbase and OANDA do, on this machine."),
    "compile": ("compile:compile_", "Compile the backtest ahead of the first trial."),
    "config": ("config:config", "Show or validate the settings."),
    "doctor": ("config:doctor", "What is installed, reachable, writable, right."),
}
"""Name -> module and attribute below tradeschool.cli, and the line of help."""
HIDDEN = {"evaluate": "evaluate:evaluate", "deputy": "deputy:deputy"}
"""Commands that other commands start."""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        del ctx
        places = {name: place for name, (place, _) in COMMANDS.items()} | HIDDEN
        if cmd_name not in places:
            return None
        module, attribute = places[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(f"tradeschool.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table above, so that help imports no command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "settings_file", type=click.Path(path_type=Path), help="Instead of tradeschool.toml.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="How to log on standard error.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.version_option(package_name="tradeschool-curriculum", prog_name="tradeschool")
@click.pass_context
def tradeschool(ctx: click.Context, settings_file: Path | None, log_format: str | None, *, verbose: bool) -> None:
    """Download years of candles, search strategy parameters over them, and get an honest verdict.

    Exit codes: 0 done, 1 failed, 2 usage or settings, 3 gate not met, 4 data incomplete, 5 service unreachable,
    130 interrupted.
    """
    ctx.obj = {"settings_file": settings_file, "log_format": log_format, "verbose": verbose}


def main() -> None:
    """Run the command line and end with its exit code; every failure is one line on standard error."""
    let_no_stranger_write()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    end_with_the_terminal()
    try:
        code = tradeschool.main(standalone_mode=False, prog_name="tradeschool")
    except TradeschoolError as error:
        click.echo(f"tradeschool: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("tradeschool: interrupted; what is stored stays: run the same command to go on", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
