"""A folder is a registry."""

import sys
from types import ModuleType

import pytest

from tradeschool import folder


@pytest.fixture
def package(tmp_path, monkeypatch) -> ModuleType:
    """A package `animals` with two entries, a module without one, and a folder below."""
    where = tmp_path / "animals"
    (where / "below").mkdir(parents=True)
    (where / "__init__.py").touch()
    (where / "below" / "__init__.py").touch()
    (where / "zebra.py").write_text("NAME = 'stripes'")
    (where / "ant.py").write_text("NAME = 'small'")
    (where / "stone.py").write_text("WEIGHT = 3")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("animals", "animals.below", "animals.zebra", "animals.ant", "animals.stone"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__("animals")


def test_every_module_with_the_attribute_is_an_entry_by_name(package):
    assert folder.entries(package, "NAME") == {"ant": "small", "zebra": "stripes"}
    assert list(folder.entries(package, "NAME")) == ["ant", "zebra"]


def test_an_error_inside_a_module_is_seen(package, tmp_path):
    (tmp_path / "animals" / "broken.py").write_text("1 / 0")

    with pytest.raises(ZeroDivisionError):
        folder.entries(package, "NAME")
