"""Days of a level as people write them: `start` and `end`, or one `timerange`."""

from collections.abc import Mapping

from tradeschool.errors import SettingsError
from tradeschool.markets.timerange import parse_day, parse_timerange


def with_days(given: object) -> object:
    """Replace `timerange = "2023"` in a table by `start` and `end`, and other spellings of these by dates.

    Raises:
        ValueError: if a day or range is malformed.
    """
    if not isinstance(given, Mapping):
        return given
    table = dict(given)
    try:
        if "timerange" in table:
            _expand(table)
        for name in ("start", "end"):
            if isinstance(value := table.get(name), str | int) and not isinstance(value, bool):
                table[name] = parse_day(str(value)).date()
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return table


def _expand(table: dict[str, object]) -> None:
    if "start" in table or "end" in table:
        raise SettingsError("timerange: give either timerange, or start and end")
    window = parse_timerange(str(table.pop("timerange")))
    for name, moment in (("start", window.start), ("end", window.end)):
        if (moment.hour, moment.minute, moment.second) != (0, 0, 0):
            raise SettingsError(f"timerange: {name} {moment:%Y-%m-%d %H:%M}: expected whole days")
        table[name] = moment.date()
