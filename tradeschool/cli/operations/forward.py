"""`tradeschool forward`: test chosen parameters on paper on new candles, by a rule that is written down before."""

from pathlib import Path
from typing import Any

import click

from optimizer.forward.day_log import ForwardAction
from optimizer.forward.forward_test import FOLDER, read_forward_test
from optimizer.forward.summary import forward_json, forward_summaries, series_json
from tradeschool.app.context import load_settings
from tradeschool.app.forward.follow_forward import watch_forward
from tradeschool.app.forward.forward_request import FORWARD_NAME, LIVE, ForwardRequest
from tradeschool.app.forward.forward_session import ForwardSession, forward_session, require_nothing_missing
from tradeschool.cli.options.output import json_option
from tradeschool.errors import GateNotMet, SettingsError
from tradeschool.views.forward_test import say_day, show_forward_test, show_forward_tests
from tradeschool.views.terminal import print_json

LIMITS = ("alpha_deploy", "alpha_stop", "worthwhile_sharpe", "max_drawdown", "min_days", "max_days")
"""Options that set a limit of the rule, by field name."""
probability = click.FloatRange(0, 1, min_open=True, max_open=True)


class RunByDefault(click.Group):
    """A group whose command `run` needs no name: `forward RUN` is `forward run RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` before arguments that name no subcommand."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=RunByDefault)
def forward() -> None:
    """Test chosen parameters on paper on new candles, by a rule written down before the first day.

    `tradeschool forward RUN` is short for `tradeschool forward run RUN`.
    """


@forward.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--params", type=click.Path(path_type=Path), help="Trade the parameters of this best_params.json instead."
)
@click.option("--name", help=f"Name of the forward test. [default: {LIVE}, or replay-START-END]")
@click.option("--replay", help="Replay these days of sealed candles, for example 2024-01-01..2025-01-01.")
@click.option("--once/--watch", default=True, help="Record the settled days and end, or keep running. [default: once]")
@click.option("--follow/--no-follow", default=True, show_default=True, help="With --watch: download settled candles.")
@click.option(
    "--every", type=click.FloatRange(1), default=300, show_default=True, help="With --watch: seconds a round."
)
@click.option("--alpha-deploy", type=probability, help="Rule: error rate of a deployment. [default: 0.05]")
@click.option("--alpha-stop", type=probability, help="Rule: error rate of a stop by the upper limit. [default: 0.05]")
@click.option(
    "--worthwhile-sharpe", type=click.FloatRange(0, 10, min_open=True), help="Rule: stop below it. [default: 1]"
)
@click.option(
    "--max-drawdown", type=click.FloatRange(0, 1, min_open=True), help="Rule: stop above it. [default: the gate's]"
)
@click.option("--min-days", type=click.IntRange(1), help="Rule: days before a deployment. [default: 30]")
@click.option("--max-days", type=click.IntRange(1), help="Rule: days after which the test stops. [default: 1095]")
@click.option("--force", is_flag=True, help="Continue with changed code if it reproduces every recorded day.")
@json_option
def run(*, once: bool, follow: bool, every: float, as_json: bool, **options: Any) -> None:
    """Begin or continue the forward test of a run's chosen parameters.

    Settled days are traded on paper by the engine of the search, and recorded. Exit code 0: paper trade or deploy; 3:
    stop; 4: candles of a settled day are missing.
    """
    request = _request(options)
    with forward_session(load_settings(), request) as session:
        if once:
            why = session.record_settled()
            _show(session, as_json=as_json)
            require_nothing_missing(session, why)
        else:
            watch_forward(session, every, say_day, fetch=follow and not request.replay)
            _show(session, as_json=as_json)
        if session.test.action is ForwardAction.STOP:
            raise GateNotMet(f"forward test {session.test.rule.name}: stop: {_reason(session)}")


@forward.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the forward tests of all runs."""
    found = forward_summaries(load_settings().results_dir)
    if as_json:
        print_json(found)
    else:
        show_forward_tests(found)


@forward.command()
@click.argument("run_name", metavar="RUN")
@click.option("--name", default=LIVE, show_default=True, help="Name of the forward test.")
@json_option
def show(run_name: str, name: str, *, as_json: bool) -> None:
    """Show the rule, the last days and the decision of a forward test.

    With --json, all days are included.
    """
    folder = load_settings().results_dir / run_name / FOLDER / name
    is_named = FORWARD_NAME.fullmatch(run_name) and FORWARD_NAME.fullmatch(name)
    test = read_forward_test(folder) if is_named else None
    if test is None:
        raise SettingsError(
            f"no forward test {name} of run {run_name} in {folder.parent}; see: tradeschool forward list"
        )
    if as_json:
        print_json({**forward_json(test), "series": series_json(test)})
    else:
        show_forward_test(test, forward_json(test))


def _request(options: dict[str, Any]) -> ForwardRequest:
    limits = {name: value for name in LIMITS if (value := options.pop(name)) is not None}
    request = ForwardRequest(**options, limits=limits)
    if (request.run_name is None) == (request.params is None):
        raise SettingsError("expected either RUN or --params FILE; see: tradeschool optimize list")
    return request


def _show(session: ForwardSession, *, as_json: bool) -> None:
    summary = forward_json(session.test)
    if as_json:
        print_json(summary)
    else:
        show_forward_test(session.test, summary, with_rule=not session.is_new)


def _reason(session: ForwardSession) -> str:
    return session.test.last.reason if session.test.last else ""
