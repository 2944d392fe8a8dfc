"""Values in TOML."""

import json
from collections.abc import Mapping
from datetime import date

from pydantic import BaseModel


def toml_value(value: object) -> str:
    """Return a value in TOML; models and mappings become inline tables, without what is empty."""
    if isinstance(value, BaseModel):
        return toml_value({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        kept = {name: each for name, each in value.items() if each is not None and each != ()}
        return "{ " + ", ".join(f"{name} = {toml_value(each)}" for name, each in kept.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return _simple(value)


def _simple(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float | date):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)
