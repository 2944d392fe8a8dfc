"""A folder is a registry: a provider, strategy or level exists because its file is there."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def entries(package: ModuleType, attribute: str) -> dict[str, Any]:
    """What every module of a package calls `attribute`, by the module's name, in alphabetical order.

    Modules that have no such attribute are left out.
    """
    found: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        imported = importlib.import_module(f"{package.__name__}.{module.name}")
        if hasattr(imported, attribute):
            found[module.name] = getattr(imported, attribute)
    return found
