"""Strategy parameters from command-line options or from a file such as a run's best_params.json."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from optimizer.level.spec import Direction
from optimizer.strategies.protocol import CategoricalParameter, FloatParameter, Parameter, Strategy
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.app.search.strategy_isolation import load_here
from tradeschool.errors import SettingsError

DEFAULT_STRATEGY = "sma_cross"
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenParameters:
    """Strategy, parameters and direction from the command line."""

    strategy: str
    parameters: dict[str, float]
    """All parameters that are not fixed; not validated yet."""
    direction: str | None
    """Direction in the file, None if it has none."""
    setup: WinnerSetup | None
    """Setup of the run's winner if the file is a `best_params.json`, else None."""


def parameter_options(function: Function) -> Function:
    """Add the two options for parameters to a command."""
    several = click.option("-p", "--parameter", "chosen", multiple=True, help="Parameter, e.g. fast=20; repeatable.")
    file = click.option(
        "--parameters",
        "parameter_file",
        type=click.Path(path_type=Path),
        help="JSON file with parameters, for example best_params.json of a run.",
    )
    return several(file(function))


def parameters_of(strategy_name: str | None, file: Path | None, chosen: tuple[str, ...]) -> ChosenParameters:
    """Combine the strategy's defaults, the file and the single options; later ones override earlier ones.

    The strategy is `strategy_name`, else the file's, else `DEFAULT_STRATEGY`.

    Raises:
        SettingsError: If the file is not a set of parameters, or a parameter is unknown or not a number.
    """
    read = _read(file) if file else {}
    name = strategy_name or str(read.get("strategy", DEFAULT_STRATEGY))
    strategy = load_here(name)
    parameters = {parameter.name: float(parameter.default) for parameter in strategy.parameters}
    parameters |= _numbers(file, read.get("parameters", {}))
    for text in chosen:
        parameters |= _one(strategy, text)
    direction = read.get("direction")
    if direction is not None and direction not in list(Direction):
        raise SettingsError(f"--parameters {file}: direction: expected {', '.join(Direction)}, was {direction!r}")
    side = None if direction is None else str(direction)
    setup = _setup(file, read) if "datasets" in read else None
    return ChosenParameters(strategy=name, parameters=_whole(strategy, parameters), direction=side, setup=setup)


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--parameters {file}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"--parameters {file}: expected an object, was {type(content).__name__}")
    return content if "parameters" in content else {"parameters": content}


def _setup(file: Path | None, content: dict[str, object]) -> WinnerSetup:
    try:
        return WinnerSetup.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"--parameters {file}: {where}: {first['msg']}: expected a run's best_params.json"
        ) from None


def _numbers(file: Path | None, content: object) -> dict[str, float]:
    if not isinstance(content, dict):
        raise SettingsError(f"--parameters {file}: parameters: expected an object, was {content!r}")
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SettingsError(f"--parameters {file}: {name}: expected a number, was {value!r}")
    return content


def _one(strategy: Strategy, text: str) -> dict[str, float]:
    name, separator, value = text.partition("=")
    known = {parameter.name: parameter for parameter in strategy.parameters}
    if not separator or name not in known:
        raise SettingsError(f"-p {text}: expected name=value, the name one of {', '.join(known)}")
    return {name: _value(known[name], text, value)}


def _value(parameter: Parameter, text: str, value: str) -> float:
    if isinstance(parameter, CategoricalParameter) and value in parameter.choices:
        return parameter.choices.index(value)
    try:
        return float(value)
    except ValueError:
        choices = f" or one of {', '.join(parameter.choices)}" if isinstance(parameter, CategoricalParameter) else ""
        raise SettingsError(f"-p {text}: expected a number{choices}, was {value!r}") from None


def _whole(strategy: Strategy, parameters: dict[str, float]) -> dict[str, float]:
    """Convert whole numbers to int, except for float parameters."""
    floats = {parameter.name for parameter in strategy.parameters if isinstance(parameter, FloatParameter)}
    return {
        name: int(value) if name not in floats and float(value).is_integer() else value
        for name, value in parameters.items()
    }
