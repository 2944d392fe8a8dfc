"""Each row of the tables in `docs/security.md` names existing tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
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
