"""The settings as a commented TOML file."""

from collections.abc import Mapping

from pydantic import SecretStr

from tradeschool.app.new_project.toml_values import toml_value
from tradeschool.settings.model import PROVIDERS, Settings, setting_names

HEAD = """\
# Settings of tradeschool in this folder. A line that begins with "#" is a default: remove the "#" to change it.
# Secrets such as oanda_api_token belong to the environment or .env, never to this file.
# All settings: docs/reference/settings.md."""
SECRET_NAMES = ("oanda_api_token", "secret_access_key", "signing_key", "token")
"""Settings that are read from the environment or `.env` only."""


def settings_text(settings: Settings, kept: Mapping[tuple[str, ...], object] | None = None) -> str:
    """Return the file of these settings: those that differ from the defaults are set, all others are comments.

    `kept` are values that are written as they are, such as the data folder. Secrets are not written.
    """
    usual = Settings.model_construct()
    sections: dict[tuple[str, ...], list[str]] = {}
    for path, field in setting_names():
        if path[-1] in SECRET_NAMES or path[0] == "instruments":
            continue
        value, default = (kept or {}).get(path, _value(settings, path)), _value(usual, path)
        lines = sections.setdefault(path[:-1], [])
        lines.append(f"# {' '.join(field.description.split())}" if field.description else "")
        lines.append(_line(path[-1], value, default))
    text = [HEAD]
    for section, lines in sections.items():
        text += [f"\n[{'.'.join(section)}]" if section else "", *(line for line in lines if line)]
    for each in settings.instruments:
        values = each.model_dump(mode="json", exclude_defaults=True)
        text += ["\n[[instruments]]", *(f"{name} = {toml_value(value)}" for name, value in values.items())]
    return "\n".join(text) + "\n"


def _value(settings: Settings, path: tuple[str, ...]) -> object:
    found: object = settings
    for name in path:
        if name == PROVIDERS[-1] and path[:2] == PROVIDERS:
            return getattr(settings.fetch.provider(path[2]), path[3])
        found = getattr(found, name)
    return found


def _line(name: str, value: object, default: object) -> str:
    if isinstance(value, SecretStr) or value is None:
        return f'# {name} = ""'
    text = f"{name} = {toml_value(value)}"
    return text if value != default else f"# {text}"
