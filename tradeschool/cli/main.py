"""Entry point of the command line: the table of commands and the exit codes.

A command's module is imported when the command runs, so `--help` starts fast.
"""

import importlib
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tradeschool.app.global_options import GLOBAL_OPTIONS, GlobalOptions
from tradeschool.app.hangup import end_with_the_terminal
from tradeschool.app.interrupts import interrupt_on_signals
from tradeschool.cli.options.completion import complete_values
from tradeschool.cli.options.examples import add_examples, examples_of
from tradeschool.errors import TradeschoolError
from tradeschool.private_folders import deny_other_writers

COMMANDS = {
    "up": ("operations.up:up", "Fetch, search and validate on this machine."),
    "down": ("operations.up:down", "Stop the embedded server."),
    "demo": ("setup.demo:demo", "Run a complete example offline in under a minute."),
    "init": ("setup.init:init", "Write settings and a curriculum for your own pairs."),
    "fetch": ("candles.fetch:fetch", "Download candles and seal them."),
    "markets": ("candles.markets:markets", "Find instruments and show what is known of them."),
    "data": ("candles.data:data", "Inspect and manage candles on disk."),
    "optimize": ("search.optimize:optimize", "Run parameter searches and inspect their results."),
    "forward": ("operations.forward:forward", "Test chosen parameters on paper on new candles."),
    "backtest": ("strategies.backtest:backtest", "Backtest a strategy with fixed parameters."),
    "costs": ("strategies.costs:costs", "List and show presets of trading costs."),
    "strategy": ("strategies.strategy:strategy", "List, create and check strategies."),
    "worker": ("operations.worker:worker", "Start and manage workers, which evaluate trials."),
    "standby": ("operations.standby:standby", "Resume runs whose coordinator was killed."),
    "queue": ("operations.queue:queue", "Inspect and manage the trial queue."),
    "serve": ("operations.serve:serve", "Serve the monitoring page, its API and metrics."),
    "exchange": ("candles.exchange:exchange", "Simulate the candle APIs of the providers."),
    "compile": ("setup.compile:compile_", "Compile the backtest ahead of time."),
    "config": ("setup.config:config", "Show or validate the settings."),
    "clean": ("setup.clean:clean", "Remove old runs and caches."),
    "completion": ("setup.completion:completion", "Print the completion script of a shell."),
    "doctor": ("setup.doctor:doctor", "Check the installation: packages, services, permissions, clocks."),
}
"""Command name -> module and attribute below tradeschool.cli, and help text."""
HIDDEN = {"evaluate": "operations.evaluate:evaluate"}
"""Internal commands, started by other commands."""

INTERRUPTED = 130
PARENT_OPTION = "--parent"
"""Hidden option of each command that another command starts."""


class LazyGroup(click.Group):
    """Command group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of first use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None if it does not exist."""
        del ctx
        places = {name: place for name, (place, _) in COMMANDS.items()} | HIDDEN
        if cmd_name not in places:
            return None
        module, attribute = places[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(f"tradeschool.cli.{module}"), attribute)
        add_examples(command, cmd_name)
        complete_values(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the commands from the table above, without importing them, and the options."""
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list from the table above, without importing commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=examples_of(""))
@click.option(
    "--config", "settings_file", type=click.Path(path_type=Path), help="Settings file. [default: tradeschool.toml]"
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Log format on standard error.")
@click.option("-v", "--verbose", is_flag=True, help="Log at level INFO instead of WARNING.")
@click.version_option(package_name="tradeschool-curriculum", prog_name="tradeschool")
def tradeschool(settings_file: Path | None, log_format: str | None, *, verbose: bool) -> None:
    """Download years of candles, search strategy parameters, and validate the result against overfitting.

    Exit codes: 0 success, 1 failure, 2 invalid usage or settings, 3 gate failed, 4 data incomplete, 5 service
    unreachable, 130 interrupted. Windows is not supported; use WSL2.
    """
    GLOBAL_OPTIONS.set(GlobalOptions(settings_file=settings_file, log_format=log_format, verbose=verbose))


def main() -> None:
    """Run the command line and exit with its code; a failure is reported as one line on standard error."""
    deny_other_writers()
    interrupt_on_signals()
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
        if PARENT_OPTION not in sys.argv:  # the command that started this process prints the line
            click.echo("tradeschool: interrupted; stored data is kept; run the same command to resume", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
