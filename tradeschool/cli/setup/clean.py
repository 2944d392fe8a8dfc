"""`tradeschool clean`: remove old runs and caches."""

import sys
from collections import Counter
from collections.abc import Sequence

import click
from rich.table import Table

from tradeschool.app.context import load_settings
from tradeschool.app.housekeeping.removal import Removable, chosen_runs, removable_caches, removable_runs, remove
from tradeschool.cli.options.output import json_option
from tradeschool.views.terminal import console, now, print_json, say


@click.command()
@click.argument("run_names", metavar="[RUN]...", nargs=-1)
@click.option("--older-than", type=click.IntRange(0), help="Also all runs that started more than this many days ago.")
@click.option("--caches", "with_caches", is_flag=True, help="Also the caches; the next search fills them again.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be removed.")
@json_option
def clean(
    run_names: Sequence[str], older_than: int | None, *, with_caches: bool, yes: bool, is_dry: bool, as_json: bool
) -> None:
    """Remove runs and caches, and say what that frees.

    Without a choice, everything that could be removed is listed. Nothing is removed without --yes or a confirmation on
    the terminal. Candles are never removed, nor runs that are running, were interrupted or have a forward test that
    continues.
    """
    settings = load_settings()
    runs, caches = removable_runs(settings), removable_caches(settings)
    is_choice = bool(run_names) or older_than is not None or with_caches
    chosen = chosen_runs(runs, settings, run_names, older_than, now()) + (caches if with_caches else [])
    shown = chosen if is_choice else [*runs, *caches]
    if shown and not as_json:
        _show(shown)
    is_removed = bool(chosen) and not is_dry and (yes or (not as_json and _is_confirmed(chosen)))
    if as_json:
        print_json({"removed": is_removed, "items": [each.as_json() for each in shown]})
    if is_removed:
        for each in chosen:
            remove(settings, each)
            say(f"removed: {each.kind} {each.name}")
    say(_last_line(chosen, is_choice=is_choice, is_removed=is_removed))


def _is_confirmed(chosen: Sequence[Removable]) -> bool:
    if not sys.stdin.isatty():
        return False
    return click.confirm(f"remove {_count(chosen)} and free {_size(chosen)}?", default=False, err=True)


def _show(found: Sequence[Removable]) -> None:
    has_kept = any(each.kept for each in found)
    table = Table("what", "name", "size", "content", *(["stays because"] if has_kept else []))
    for each in found:
        table.add_row(each.kind, each.name, _size([each]), each.note, *([each.kept] if has_kept else []))
    console().print(table)


def _last_line(chosen: Sequence[Removable], *, is_choice: bool, is_removed: bool) -> str:
    if not is_choice:
        return "nothing is removed; choose: tradeschool clean RUN, --older-than DAYS or --caches"
    if not chosen:
        return "nothing to remove"
    if is_removed:
        return f"freed {_size(chosen)}; the study database reuses the space of removed trials"
    return f"nothing is removed; --yes would remove {_count(chosen)} and free {_size(chosen)}"


def _count(found: Sequence[Removable]) -> str:
    counts = Counter(each.kind for each in found)
    return " and ".join(f"{number:,} {kind}{'' if number == 1 else 's'}" for kind, number in counts.items())


def _size(found: Sequence[Removable]) -> str:
    total = sum(each.size_bytes for each in found)
    return f"{total / 1e6:,.1f} MB" if total >= 100_000 else f"{total / 1e3:,.1f} kB"
