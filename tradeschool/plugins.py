"""Plug-in discovery: each module in a package registers one provider, strategy or level."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def entries(package: ModuleType, attribute: str) -> dict[str, Any]:
    """Return the value of `attribute` of each module in a package, by module name, in alphabetical order.

    Modules without the attribute are skipped.
    """
    found: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        imported = importlib.import_module(f"{package.__name__}.{module.name}")
        if hasattr(imported, attribute):
            found[module.name] = getattr(imported, attribute)
    return found
