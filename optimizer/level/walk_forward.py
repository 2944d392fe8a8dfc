"""Windows of a walk-forward: the days on which each is searched, and the days that judge its choice.

Each dataset's out-of-sample days are cut into windows of equal length. Window n is searched on the days before it, up
to an embargo; the last search, window n + 1 of n, reads the whole range, and its winner is traded next. Each search is
an ordinary search of a level of its own, whose datasets end with its train, so it has the workers, samplers and tables
of any other search.

Source: R. Pardo, The Evaluation and Optimization of Trading Strategies (2008), chapter 11; for the embargo M. Lopez de
Prado, Advances in Financial Machine Learning (2018), 7.4. Labels need no purge: a position is closed at the end of a
part and none is open at the start of the next, so no trade straddles a border.
"""

import re
from datetime import date, timedelta

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level, Part, Split
from tradeschool.errors import SettingsError
from tradeschool.markets.windows import Window

WINDOW = re.compile(r", (window \d+ of \d+)$")
"""End of the title of a window's level."""


def last_search(level: Level) -> int:
    """Return the number of the last search: the one after all windows, or 1 for a level without windows."""
    return level.split.windows + 1 if level.split.is_walk_forward else 1


def window_numbers(level: Level) -> range:
    """Return the numbers of a level's windows, from 1; empty for a level without windows."""
    return range(1, last_search(level))


def window_level(level: Level, number: int) -> Level:
    """Return the level that search `number` of a walk-forward searches: all its days are train.

    A level without windows is returned unchanged.

    Raises:
        SettingsError: the window leaves no day to search.
    """
    if not level.split.is_walk_forward:
        return level
    if number == last_search(level):
        return level.model_copy(update={"split": _all_train(level)})
    return level.model_copy(
        update={
            "title": f"{level.title}, window {number} of {level.split.windows}",
            "trials": level.split.window_trials or -(-level.trials // 2),
            "split": _all_train(level),
            "datasets": tuple(_searched_days(level, each, number) for each in level.datasets),
        }
    )


def window_of(searched: Level) -> str:
    """Return the window of a level that `window_level` returned, such as `window 2 of 4`; empty for another level."""
    found = WINDOW.search(searched.title)
    return found[1] if found and searched.parts == (Part.TRAIN,) else ""


def out_of_sample(level: Level, dataset: LevelDataset, number: int) -> Window:
    """Return the out-of-sample days of a dataset in window `number`, from 1.

    Raises:
        SettingsError: the window is empty.
    """
    start, end = _out_of_sample_days(level, dataset, number)
    return Window(dataset.window.start + timedelta(days=start), dataset.window.start + timedelta(days=end))


def chosen_until(level: Level, number: int) -> date:
    """Return the first day after all days that the choice of search `number` was made on, over all datasets.

    Without windows, validation selects the winner.
    """
    if level.split.is_walk_forward:
        return max(each.end for each in window_level(level, number).datasets)
    return max(level.window(each, Part.VALIDATION).end.date() for each in level.datasets)


def first_judged(level: Level, number: int) -> date:
    """Return the first day that judges the choice of search `number`, over all datasets.

    The last search of a walk-forward is judged by the holdout period alone.
    """
    if not level.split.is_walk_forward:
        return min(level.window(each, Part.VALIDATION).start.date() for each in level.datasets)
    if number == last_search(level):
        return level.holdout.window.start.date()
    return min(out_of_sample(level, each, number).start.date() for each in level.datasets)


def _all_train(level: Level) -> Split:
    return Split(train=1, validation=0, test=0, embargo_days=level.split.embargo_days)


def _searched_days(level: Level, dataset: LevelDataset, number: int) -> LevelDataset:
    split = level.split
    first, _ = _out_of_sample_days(level, dataset, 1)
    start, _ = _out_of_sample_days(level, dataset, number)
    begins, ends = 0 if split.anchored else start - first, start - split.embargo_days
    if ends <= begins:
        raise SettingsError(f"level {level.name}: window {number} leaves no day of {dataset.dataset} to search")
    moved = {"start": dataset.start + timedelta(days=begins), "end": dataset.start + timedelta(days=ends)}
    return dataset.model_copy(update=moved)


def _out_of_sample_days(level: Level, dataset: LevelDataset, number: int) -> tuple[int, int]:
    """Return start and end of a window in days since the dataset's first one; lengths differ by one day at most."""
    days = (dataset.end - dataset.start).days
    first = round(days * level.split.train)
    start, end = (first + (days - first) * each // level.split.windows for each in (number - 1, number))
    return start, end
