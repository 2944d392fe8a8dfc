"""The reference page of the settings, from their declarations."""

import re
import typing
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docsite.markdown import code, page, table
from fetcher import provider_registry
from tradeschool.object_storage.bucket_url import BucketUrl
from tradeschool.settings.model import BORROWED_NAMES, FURTHER_PROVIDERS, PROVIDERS, environment_name, setting_names
from tradeschool.settings.sections import InstrumentSettings

INTRODUCTION = """\
A value is read from the first of these places that has one: option, environment, `.env`, `tradeschool.toml`, default.
An unknown name is an error in each of them. In the environment, a setting is `TRADESCHOOL_` and its name in
capitals, with
`__` between section and name: `fetch.coinbase_rate` is `TRADESCHOOL_FETCH__COINBASE_RATE`. In `tradeschool.toml`, a
section
is a table:

```toml
[fetch]
coinbase_rate = 3

[fetch.providers.binance]
url = "https://api.binance.com"
rate = 5
```

`tradeschool config show` prints every effective setting with masked secrets. `tradeschool config validate` checks
the files."""
NAME = "NAME"
"""Stands for the name of a further provider."""
SECTIONS = {
    "": "General",
    "fetch": "fetch: downloads",
    "object_storage": "object_storage: candles in a bucket",
    "redis": "redis: password and TLS of the queue's server",
    "database": "database: password, TLS and pool of the study database",
    "work": "work: workers and trials",
    "serve": "serve: the monitoring page",
    "notify": "notify: notifications",
}


def rows() -> dict[str, tuple[str, str, str, str]]:
    """Return name, values, default and meaning of every setting by its name."""
    found = {}
    for path, field in setting_names():
        name = ".".join((*PROVIDERS, NAME, path[-1]) if path[:2] == PROVIDERS else path)
        found[name] = (code(name), kind_of(field.annotation, field.metadata), default_of(field), meaning_of(field))
    return found


def settings_page() -> str:
    """Return the page of all settings."""
    parts = [INTRODUCTION]
    for section, title in SECTIONS.items():
        names = [each for each in rows() if (each.split(".")[0] if "." in each else "") == section]
        parts += [f"## {title}", table(("setting", "value", "default", "meaning"), [rows()[each] for each in names])]
        if section == "fetch":
            parts += [PROVIDER_TEXT, _providers()]
    parts += ["## instruments: your own instruments", INSTRUMENT_TEXT, _instruments()]
    parts += ["## Variables of other tools", BORROWED_TEXT, _borrowed()]
    return page("Settings", *parts)


PROVIDER_TEXT = f"""\
`{NAME}` is a further provider, such as {", ".join(code(name) for name in FURTHER_PROVIDERS)}. An exchange of ccxt
has the
settings `fetch.providers.ccxt.{NAME}.url` and `.rate`. Where a setting of a provider is not set, the provider's own
value holds:"""
INSTRUMENT_TEXT = (
    "One `[[instruments]]` table for each instrument; [markets](markets.md#your-own-instruments) has an example."
)
BORROWED_TEXT = "These environment variables of other tools are read, too. A variable of tradeschool precedes them."


def kind_of(annotation: Any, metadata: list[Any] | None = None) -> str:
    """Return the kind of value in words, with its bounds."""
    bounds = [_bound(each) for each in metadata or ()]
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return kind_of(inner, [*more, *(metadata or [])])
    if origin in {typing.Union, UnionType}:
        return " or ".join(kind_of(each, metadata) for each in get_args(annotation) if each is not type(None))
    if origin is Literal:
        return ", ".join(code(each) for each in get_args(annotation))
    return ", ".join([_word(annotation, metadata or []), *(bound for bound in bounds if bound)])


def _word(annotation: Any, metadata: list[Any]) -> str:
    if any("https?" in str(getattr(each, "pattern", "")) for each in _constraints(metadata)):
        return "URL"
    words = {
        BucketUrl: "URL of a bucket",
        bool: "`true` or `false`",
        int: "integer",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
    }
    if annotation in words:
        return words[annotation]
    inner = [each for each in get_args(annotation) if each is not Ellipsis]
    if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
        return "tables"
    return "list of `module:NAME`" if inner else "text"


def _constraints(metadata: list[Any]) -> list[Any]:
    return [part for each in metadata for part in (getattr(each, "metadata", None) or [each])]


def _bound(each: Any) -> str:
    signs = (annotated_types.Gt, ">"), (annotated_types.Ge, ">="), (annotated_types.Lt, "<"), (annotated_types.Le, "<=")
    found = []
    for part in _constraints([each]):
        for kind, sign in signs:
            if isinstance(part, kind):
                found.append(code(f"{sign} {getattr(part, kind.__name__.lower())}"))
    return ", ".join(found)


def default_of(field: FieldInfo) -> str:
    """Return the default as code, `none` for a setting that is not set."""
    default = field.default
    if field.is_required():
        return "required"
    if default is None:
        return "none"
    if default in ("", ()):
        return "empty"
    if isinstance(default, bool):
        return code(str(default).lower())
    return code(f"{default:g}" if isinstance(default, float) else default)


def meaning_of(field: FieldInfo) -> str:
    """Return the description of a field."""
    return re.sub(r"\s+", " ", field.description or "")


def _providers() -> str:
    providers = sorted(provider_registry.load().values(), key=lambda each: (each.name, each.source))
    rows = [(code(each.name), code(each.source), code(each.url), f"{each.rate:g}") for each in providers]
    return table(("provider", "source", "URL", "requests per second"), rows)


def _instruments() -> str:
    fields = InstrumentSettings.model_fields.items()
    rows = [
        (code(name), kind_of(field.annotation, field.metadata), default_of(field), meaning_of(field))
        for name, field in fields
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _borrowed() -> str:
    rows = [(code(name), code(setting), code(environment_name((setting,)))) for name, setting in BORROWED_NAMES.items()]
    return table(("variable", "setting", "variable of tradeschool"), rows)
