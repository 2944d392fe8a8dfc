"""Finds a strategy by its name: a file of `optimizer/strategies/built_in/`, or the object that `module:NAME` names.

A process that must survive any module has `module:NAME` found by somebody else; see `find_own_by`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.strategies import built_in as built_in_strategies
from tradeschool import plugins
from tradeschool.errors import SettingsError, StrategyNotImported
from tradeschool.plain_text import located_error, plain

Find = Callable[[str], object]
"""From `module:NAME` to the strategy, or to what stands for it in this process."""


def find(name: str) -> object:
    """What a name stands for; whether it is a strategy is for the caller to see.

    Raises:
        SettingsError: where there is no such file, module or object, with the known names.
        StrategyNotImported: where the module is there and raises.
    """
    return _found_by(name) if ":" in name else _built_in(name)


@contextmanager
def find_own_by(finder: Find) -> Iterator[None]:
    """Have this process find `module:NAME` by `finder` until the block ends, whichever thread asks."""
    global _found_by
    before, _found_by = _found_by, finder
    try:
        yield
    finally:
        _found_by = before


def built_in_names() -> list[str]:
    """The strategies that come with the project."""
    return list(plugins.entries(built_in_strategies, "STRATEGY"))


def _built_in(name: str) -> object:
    # By its file's name, without a look at the others: a trial asks for its strategy, too.
    if name.isidentifier() and importlib.util.find_spec(f"{built_in_strategies.__name__}.{name}"):
        return importlib.import_module(f"{built_in_strategies.__name__}.{name}").STRATEGY
    raise SettingsError(f"unknown strategy {name!r}: expected one of {', '.join(built_in_names())}, or module:NAME")


def import_own(name: str) -> object:
    """The object that `module:NAME` names, its module imported into this process.

    A module is also looked for in the working folder, after everything that is installed.

    Raises:
        SettingsError: where there is no such module, or no such object in it.
        StrategyNotImported: where the module raises, or ends the program.
    """
    module, _, attribute = name.partition(":")
    try:
        with _working_folder_importable():
            return getattr(importlib.import_module(module), attribute)
    except AttributeError as error:
        if module not in sys.modules:  # the module's own
            raise StrategyNotImported(name, located_error(error)) from error
        raise SettingsError(f"strategy {name!r} cannot be imported: {plain(str(error))}") from error
    except (ImportError, ValueError) as error:
        if _is_absent(module, error):
            raise SettingsError(f"strategy {name!r} cannot be imported: {plain(str(error))}") from error
        raise StrategyNotImported(name, located_error(error)) from error
    except (Exception, SystemExit) as error:
        raise StrategyNotImported(name, located_error(error)) from error


def _is_absent(module: str, error: Exception) -> bool:
    """Whether the module itself, or a package around it, is not there; its name may be none, too."""
    if isinstance(error, ModuleNotFoundError):
        return f"{module}.".startswith(f"{error.name}.")
    return not module.strip(".")


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    # A console script's path does not hold it; last, so that a user's file never hides an installed module.
    folder_name = str(Path.cwd())
    if folder_name in sys.path:
        yield
        return
    sys.path.append(folder_name)
    try:
        yield
    finally:
        sys.path.remove(folder_name)


_found_by: Find = import_own
