import sys
from pathlib import Path

import pytest

from tradeschool.plugins import entries


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of four modules, one of them without an entry."""
    folder = tmp_path / "zoo_of_entries"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "zebra": "ENTRY = 1",
        "ape": "ENTRY = 2",
        "notes": "",
        "bee": "ENTRY = None",
    }.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("zoo_of_entries")
    for name in [name for name in sys.modules if name.startswith("zoo_of_entries")]:
        del sys.modules[name]


def test_entries_are_found_in_order_of_module_names(package) -> None:
    assert list(entries(package, "ENTRY").items()) == [("ape", 2), ("bee", None), ("zebra", 1)]


def test_modules_without_the_attribute_are_skipped(package) -> None:
    assert "notes" not in entries(package, "ENTRY")
