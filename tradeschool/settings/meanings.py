"""Meanings of the settings: the docstrings below their fields, read from the source when they are shown."""

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel

from tradeschool.settings.model import PROVIDERS, Settings, setting_names
from tradeschool.settings.sections import ProviderSettings


def setting_meanings() -> dict[tuple[str, ...], str]:
    """Return what each setting means, by the paths of `setting_names`.

    Pydantic would read the sources at each import, which takes a tenth of a second in every process.
    """
    return {path: meanings_of(_model_of(path)).get(path[-1], "") for path, _ in setting_names()}


@cache
def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a model."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef), "the source of a class"
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


def _model_of(path: tuple[str, ...]) -> type[BaseModel]:
    if path[: len(PROVIDERS)] == PROVIDERS:
        return ProviderSettings
    model: type[BaseModel] = Settings
    for name in path[:-1]:
        section = model.model_fields[name].annotation
        assert isinstance(section, type) and issubclass(section, BaseModel), f"{name} is a section"
        model = section
    return model
