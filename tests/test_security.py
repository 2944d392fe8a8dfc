"""Each row of `docs/security.md` names existing tests; locks and exceptions of the linter are complete."""

import re
import tomllib
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
ROW = re.compile(r"^\| (?!can \||cannot \||---)(?P<said>.+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)


def test_every_row_names_existing_tests() -> None:
    known = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    rows = list(ROW.finditer(PAGE))
    named = {row["said"]: re.findall(r"`(test_\w+)`", row["tests"]) for row in rows}

    assert len(rows) > 30
    assert [said for said, tests in named.items() if not tests] == []
    assert {test for tests in named.values() for test in tests} - known == set()


def test_every_locked_package_has_a_hash_and_no_lock_names_a_host() -> None:
    locks = sorted(TESTS.parent.glob("requirements*.lock"))

    assert len(locks) >= 4
    for lock in locks:
        text = lock.read_text()
        pins = re.split(r"\n(?=[a-zA-Z0-9])", text)[1:]
        assert len(pins) > 0, lock.name
        assert [pin.splitlines()[0] for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == [], lock.name
        assert "://" not in text, lock.name


def test_every_exception_of_the_linter_has_its_reason() -> None:
    """`# noqa: CODE  # reason` in the packages, and a reason at each rule that `pyproject.toml` switches off."""
    lines = [
        f"{path.relative_to(TESTS.parent)}:{number}"
        for package in PACKAGES
        for path in sorted((TESTS.parent / package).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "# noqa" in line and not re.search(r"# noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*  # \S", line)
    ]
    settings = (TESTS.parent / "pyproject.toml").read_text()
    ignored = settings.split("\nignore = [", 1)[1].split("]", 1)[0].strip().splitlines()
    by_file = settings.split("[tool.ruff.lint.per-file-ignores]", 1)[1].split("\n[", 1)[0]
    rules = [line for line in by_file.splitlines() if line.startswith("  ")]

    assert lines == []
    assert [line for line in (*ignored, *rules) if "#" not in line] == []


def test_the_security_rules_are_on_for_the_packages() -> None:
    """No package is exempt from the rules of bandit as a whole."""
    lint = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S101"]
    assert [glob for glob in lint["per-file-ignores"] if glob.startswith(PACKAGES)] == []
