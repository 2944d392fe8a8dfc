"""Looks up strategies by name: a module of `optimizer/strategies/built_in/`, or a user's object as `module:NAME`.

A process that must not import user code replaces the lookup of `module:NAME`; see `find_own_by`.
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
"""Returns the strategy for `module:NAME`, or an object that represents it in this process."""


def find(name: str) -> object:
    """Return the object with a strategy's name. The caller checks whether it is a strategy.

    Raises:
        SettingsError: The file, module or object does not exist; the message lists the known names.
        StrategyNotImported: The module exists, but its import fails.
    """
    return _found_by(name) if ":" in name else _built_in(name)


@contextmanager
def find_own_by(finder: Find) -> Iterator[None]:
    """Look up `module:NAME` with `finder` until the block ends, in all threads of this process."""
    global _found_by
    before, _found_by = _found_by, finder
    try:
        yield
    finally:
        _found_by = before


def built_in_names() -> list[str]:
    """Return the names of the built-in strategies."""
    return list(plugins.entries(built_in_strategies, "STRATEGY"))


def _built_in(name: str) -> object:
    # Imports only the module of this name: each trial looks up its strategy.
    if name.isidentifier() and importlib.util.find_spec(f"{built_in_strategies.__name__}.{name}"):
        return importlib.import_module(f"{built_in_strategies.__name__}.{name}").STRATEGY
    raise SettingsError(f"unknown strategy {name!r}: expected one of {', '.join(built_in_names())}, or module:NAME")


def find_objective(name: str) -> object:
    """Return the object that a user's objective `module:NAME` names. The caller checks whether it can be called.

    Raises:
        SettingsError: the module, or the object in it, does not exist.
        StrategyNotImported: the module raises an error or exits.
    """
    return import_own(name, "objective")


def find_sampler(name: str) -> object:
    """Return the object that a user's sampler `module:NAME` names; raises as `find_objective`."""
    return import_own(name, "sampler")


def import_own(name: str, kind: str = "strategy") -> object:
    """Import the module of `module:NAME` into this process and return the object; `kind` is for messages.

    The working folder is searched last, after all installed modules.

    Raises:
        SettingsError: The module, or the object in it, does not exist.
        StrategyNotImported: The module raises an error or exits.
    """
    module, _, attribute = name.partition(":")
    try:
        with _importable(_folders.get(module, Path.cwd()), is_first=module in _folders):
            return getattr(importlib.import_module(module), attribute)
    except AttributeError as error:
        if module not in sys.modules:  # raised inside the module
            raise StrategyNotImported(name, located_error(error), kind=kind) from error
        raise SettingsError(f"{kind} {name!r} cannot be imported: {plain(str(error))}") from error
    except (ImportError, ValueError) as error:
        if _is_absent(module, error):
            raise SettingsError(f"{kind} {name!r} cannot be imported: {plain(str(error))}") from error
        raise StrategyNotImported(name, located_error(error), kind=kind) from error
    except (Exception, SystemExit) as error:
        raise StrategyNotImported(name, located_error(error), kind=kind) from error


def _is_absent(module: str, error: Exception) -> bool:
    """Return whether the module or a parent package does not exist, or the name is not a module name."""
    if isinstance(error, ModuleNotFoundError):
        return f"{module}.".startswith(f"{error.name}.")
    return not module.strip(".")


def import_from(module: str, folder: Path) -> None:
    """Import a user's module from a folder that contains no other; no installed module has its name."""
    if _folders.get(module) == folder:
        return
    _folders[module] = folder
    sys.modules.pop(module, None)
    importlib.invalidate_caches()


@contextmanager
def _importable(folder: Path, *, is_first: bool) -> Iterator[None]:
    # The path of a console script lacks the working folder. It is added last: user files never hide installed modules.
    folder_name = str(folder)
    if folder_name in sys.path:
        yield
        return
    sys.path.insert(0 if is_first else len(sys.path), folder_name)
    try:
        yield
    finally:
        sys.path.remove(folder_name)


_folders: dict[str, Path] = {}
"""Folders of `import_from`, by module."""
_found_by: Find = import_own
