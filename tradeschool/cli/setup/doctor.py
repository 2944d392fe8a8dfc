"""`tradeschool doctor`: check the installation and say what to do."""

from functools import partial

import click
from rich.table import Column, Table
from rich.text import Text

from tradeschool.app.context import load_settings
from tradeschool.app.doctor import installation, machine, services
from tradeschool.app.doctor.check_result import Check, CheckResult, CheckState, findings_of
from tradeschool.cli.options.output import json_option
from tradeschool.errors import TradeschoolError
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import console, print_json

STYLES = {CheckState.OK: "green", CheckState.WARNING: "yellow", CheckState.FAILED: "bold red"}


@click.command()
@click.option("--offline", "is_offline", is_flag=True, help="Send no request to a provider.")
@json_option
def doctor(*, is_offline: bool, as_json: bool) -> None:
    """Check the installation: packages, services, permissions, clocks; and say what to do.

    The checks: system, Python, libraries, machine code, memory, open files, folders and disk, permissions, server
    program, queue, workers, study database, page, notifications, tokens, providers and their clocks.

    One small request goes to each provider. Exit code 1: a check failed. Warnings do not change the exit code.
    """
    found = findings_of(_checks(load_settings(), is_offline=is_offline))
    if as_json:
        print_json([each.as_json() for each in found])
    else:
        _show(found)
    wrong = sum(each.state is CheckState.FAILED for each in found)
    if wrong:
        raise TradeschoolError(f"{wrong} of {len(found)} checks failed; the output says what to do")


def _show(found: list[CheckResult]) -> None:
    table = Table("check", "result", Column("finding", overflow="fold"), Column("what to do", overflow="fold"))
    for each in found:
        table.add_row(each.check, Text(each.state, STYLES[each.state]), Text(each.found), Text(each.action))
    console().print(table)


def _checks(settings: Settings, *, is_offline: bool) -> dict[str, Check]:
    return {
        "system": installation.check_system,
        "python": installation.check_python,
        "libraries": installation.check_libraries,
        "packages": installation.check_packages,
        "machine code": installation.check_compiler,
        "machine": machine.check_memory,
        "open files": machine.check_open_files,
        "data_dir": partial(services.check_candles, settings),
        "results_dir": partial(machine.check_folder, "results_dir", settings.results_dir),
        "state_dir": partial(machine.check_folder, "state_dir", settings.state_dir),
        "permissions": partial(machine.check_private, settings.state_dir),
        "server program": partial(installation.check_server_program, settings),
        "queue": partial(services.check_queue, settings),
        "study database": partial(services.check_study, settings),
        "page": partial(machine.check_port, settings),
        "notifications": partial(installation.check_notifications, settings),
        "OANDA token": partial(services.check_tokens, settings),
        "providers": partial(services.check_providers, settings, is_offline=is_offline),
    }
