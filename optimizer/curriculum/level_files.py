"""Curriculum loading: the built-in levels, or the levels of a user's TOML file, in order."""

import re
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from optimizer.curriculum import levels
from optimizer.level.holdout import Holdout, settled_holdout
from optimizer.level.spec import Level
from tradeschool.errors import SettingsError
from tradeschool.plugins import entries


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    holdout: Holdout = Field(default_factory=settled_holdout)
    level: tuple[Level, ...] = Field(min_length=1)

    @field_validator("level")
    @classmethod
    def _names_differ(cls, found: tuple[Level, ...]) -> tuple[Level, ...]:
        names = [level.name for level in found]
        if len(set(names)) != len(names):
            raise ValueError(f"level names must be unique, were {', '.join(names)}")
        if own := [level.name for level in found if level.reachable]:
            raise ValueError(f"level {own[0]}: reachable is set by the program; remove it")
        if own := [level.name for level in found if "holdout" in level.model_fields_set]:
            raise ValueError(f"level {own[0]}: holdout belongs at the top of the file, before the first level")
        return found

    def levels(self) -> tuple[Level, ...]:
        """The levels, each with the holdout period of the file, or the default one."""
        return tuple(level.model_copy(update={"holdout": self.holdout}) for level in self.level)


def load_levels(file: Path | None = None) -> tuple[Level, ...]:
    """Load the levels of a curriculum file, or the built-in levels if no file is given.

    Raises:
        SettingsError: names the line, the key, the expected and the found value.
    """
    if file is None:
        holdout = settled_holdout()
        return tuple(level.model_copy(update={"holdout": holdout}) for level in entries(levels, "LEVEL").values())
    return _read(file).levels()


def sets_holdout(file: Path) -> bool:
    """Return whether a curriculum file sets its own holdout period.

    Raises:
        SettingsError: as `load_levels`.
    """
    return "holdout" in _read(file).model_fields_set


def _read(file: Path) -> _File:
    try:
        text = file.read_text(encoding="utf-8")
        return _File.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"curriculum {file} cannot be read: {error}") from error
    except ValidationError as error:
        found = error.errors()
        problems = [
            _reprint(file, text, problem["loc"], problem["msg"], problem["input"])
            for problem in found
            if not any(_is_inside(other["loc"], problem["loc"]) for other in found)
        ]
        raise SettingsError("; ".join(problems)) from None


def find_level(name: str, found: tuple[Level, ...]) -> Level:
    """Return the level with a name.

    Raises:
        SettingsError: there is no such level; lists the known names.
    """
    for level in found:
        if level.name == name:
            return level
    raise SettingsError(f"unknown level {name!r}: expected one of {', '.join(level.name for level in found)}")


def _is_inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _reprint(file: Path, text: str, path: tuple[int | str, ...], message: str, found: object) -> str:
    key = ".".join(str(part) for part in path)
    shown = "" if isinstance(found, dict | list | tuple) else f", was {found!r}"
    return f"{file}:{_line(text, path)}: {key}: {message[0].lower()}{message[1:]}{shown}"


def _line(text: str, path: tuple[int | str, ...]) -> int:
    """Return the line of a key: the first in its level's section that contains it, else the section's first.

    Keys before the first level have a section of their own.
    """
    starts = [match.start() for match in re.finditer(r"^\s*\[\[level\]\]", text, re.MULTILINE)]
    index = next((part for part in path if isinstance(part, int)), 0)
    bounds = [0, *starts, len(text)] if path[:1] != ("level",) else [*(starts or [0]), len(text)]
    start, end = bounds[min(index, len(bounds) - 2)], bounds[min(index, len(bounds) - 2) + 1]
    for key in reversed([part for part in path if isinstance(part, str)]):
        if found := re.search(rf"\b{re.escape(key)}\b\s*[=\]]", text[start:end]):
            start += found.start()
            break
    return text.count("\n", 0, start) + 1
