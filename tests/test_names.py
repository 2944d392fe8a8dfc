"""No class name exists twice in the product, its folders stay small, and the test folders mirror them."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
EXEMPT = {
    "Binance": "client and simulator of the same provider",
    "Coinbase": "client and simulator of the same provider",
    "CoinbaseAdvanced": "client and simulator of the same provider",
    "Oanda": "client and simulator of the same provider",
    "_Candle": "a candle in the response of one provider, private to its module",
    "_Response": "a response of one provider, private to its module",
    "_Refusal": "an error response of one provider, private to its module",
}
"""Class names that exist more than once, each with its reason."""
MAX_MODULES = 14
"""Modules of one folder, `__init__` aside: about 12, with room for one more feature."""
SUPPORT = frozenset({"tests/workers/faketime"})
"""Folders of files that tests need and that belong to no package folder."""


def classes() -> dict[str, list[str]]:
    """The places of each class by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_no_class_name_exists_twice() -> None:
    assert {name: places for name, places in classes().items() if len(places) > 1 and name not in EXEMPT} == {}


def test_each_exemption_is_needed_and_limited_to_providers() -> None:
    found = classes()
    for name in EXEMPT:
        assert len(found[name]) > 1, name
        assert all(place.startswith(("fetcher/providers/", "fetcher/simulator/protocols/")) for place in found[name]), (
            name
        )


def test_every_folder_holds_a_limited_number_of_modules() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"]
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in modules)

    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_each_test_folder_mirrors_a_package_folder() -> None:
    folders = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / "tests" / package).rglob("*.py")
        if "__pycache__" not in path.parts
    }

    assert [name for name in sorted(folders - SUPPORT) if not (ROOT / name.removeprefix("tests/")).is_dir()] == []
