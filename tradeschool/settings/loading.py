"""Reads the settings from flags, environment, `.env` and `tradeschool.toml`, and refuses unknown keys."""

import difflib
import os
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from tradeschool.errors import SettingsError
from tradeschool.settings.model import (
    BORROWED_NAMES,
    DELIMITER,
    DOTENV_FILE,
    PREFIX,
    SETTINGS_FILE,
    Settings,
    dotenv_values_by_name,
    environment_name,
    is_setting,
    setting_names,
)


def load(flags: Mapping[str, Any] | None = None, *, file: Path | None = None) -> Settings:
    """Load the settings of this process; `flags` override all other sources, `file` replaces `tradeschool.toml`.

    Raises:
        SettingsError: if a setting is unknown or invalid; names the key, the expected value, the value and its source.
    """
    if file and not file.is_file():
        raise SettingsError(f"settings file {file} does not exist")
    path = file or SETTINGS_FILE
    _refuse_unknown(path)

    class SettingsOfFile(Settings):
        _file: ClassVar[Path] = path

    try:
        loaded = SettingsOfFile(**(flags or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(_reprint(problem, path) for problem in error.errors())) from None
    for name in ("data_root", "results_dir", "state_dir"):
        _check_folder("data_dir" if name == "data_root" else name, getattr(loaded, name))
    return loaded


def _check_folder(name: str, folder: Path) -> None:
    """Reject a path that cannot appear in a log line, URL or command line."""
    text = str(folder.absolute())
    if any(unicodedata.category(each) in {"Cc", "Cs"} for each in text):
        raise SettingsError(
            f"{name} {text!a}: expected a path without control characters (such as line breaks) and bytes that are "
            "not UTF-8; use another folder"
        )


def forget_environment() -> None:
    """Remove all variables that set a setting from the environment of this process and its future children."""
    for name in [name for name in os.environ if name.startswith(PREFIX) or name in BORROWED_NAMES]:
        del os.environ[name]


def environment_for_child(redis_url: str, strategies: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment for a child process that uses the same Redis server as this process.

    `strategies` are the plug-in strategies that a worker may import, as `module:NAME`.
    """
    given = {environment_name(("redis_url",)): redis_url}
    if strategies:
        given[environment_name(("work", "strategies"))] = ",".join(strategies)
    return {**os.environ, **given}


def _refuse_unknown(file: Path) -> None:
    known = {environment_name(path) for path, _ in setting_names()}
    for origin, names in (("the environment", os.environ), (str(DOTENV_FILE), dotenv_values_by_name())):
        for name in sorted(names):
            if name.upper().startswith(PREFIX) and not is_setting(_dotted_name(name)):
                raise SettingsError(f"unknown setting {name} in {origin}{_nearest(name, known)}")
    _refuse_unknown_in_file(file)


def _refuse_unknown_in_file(file: Path) -> None:
    if not file.is_file():
        return
    try:
        table = tomllib.loads(file.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"settings file {file} cannot be read: {error}") from error
    known = {".".join(path): path for path, _ in setting_names()}
    for name in _dotted(table):
        if not is_setting(name):
            raise SettingsError(f"unknown setting {name} in {file}{_nearest(name, set(known))}")
        if name.endswith(("token", "signing_key", "secret_access_key")):
            variable = {setting: other for other, setting in BORROWED_NAMES.items()}.get(
                name, environment_name(known[name])
            )
            raise SettingsError(f"{file}: {name} is a secret and not allowed here; set {variable} or {name}_file")


def _dotted_name(variable: str) -> str:
    """Return the name of a setting, such as `fetch.coinbase_rate`, of an environment variable."""
    return variable[len(PREFIX) :].lower().replace(DELIMITER, ".")


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _reprint(problem: Any, file: Path) -> str:
    path = tuple(str(part) for part in problem["loc"])
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{'.'.join(path)}: {message}, was {_shown(path, problem['input'])} (from {_origin(path, file)})"


def _shown(path: tuple[str, ...], value: object) -> str:
    fields = dict(setting_names())
    secret = path in fields and "SecretStr" in str(fields[path].annotation)
    return "***" if secret else repr(value)


def _origin(path: tuple[str, ...], file: Path) -> str:
    name = environment_name(path)
    borrowed = [other for other, setting in BORROWED_NAMES.items() if (setting,) == path]
    for names, where in ((os.environ, ""), (dotenv_values_by_name(), f" in {DOTENV_FILE}")):
        for candidate in (name, *borrowed):
            if candidate in names:
                return candidate + where
    return (
        str(file)
        if file.is_file() and ".".join(path) in _dotted(tomllib.loads(file.read_bytes().decode()))
        else "a command-line flag"
    )
