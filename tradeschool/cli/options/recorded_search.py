"""The options of commands that read a recorded search."""

import click

run_argument = click.argument("run_name", metavar="RUN")
optional_run_argument = click.argument("run_name", metavar="[RUN]", required=False)
level_option = click.option("--level", "level_name", help="Level. [default: the first]")
attempt_option = click.option("--attempt", type=click.IntRange(1), help="Attempt. [default: the latest]")
window_option = click.option(
    "--window",
    type=click.IntRange(1),
    help="Search of a walk-forward window. [default: the last search, over all days of train]",
)
