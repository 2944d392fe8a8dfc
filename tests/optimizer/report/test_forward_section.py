"""The report of a run includes its forward tests."""

import json
from pathlib import Path

from optimizer.report.files import write_report
from tests.factories.forward_tests import make_forward_test
from tests.factories.runs import make_context, make_run_record, recommended


def written(folder: Path, *names: str) -> tuple[dict[str, object], str]:
    context = make_context(folder)
    record = recommended(context, make_run_record(context))
    for name in names:
        make_forward_test(context.results_dir, name=name)
    if "broken" in names:
        (context.folder("r1") / "forward" / "broken" / "days.jsonl").write_text("{}\n")
    write_report(context.results_dir, context.folder("r1"), record, {})
    here = context.folder("r1")
    return json.loads((here / "report.json").read_text()), (here / "report.html").read_text()


def test_a_report_shows_rule_limits_and_decision(tmp_path: Path) -> None:
    content, page = written(tmp_path, "live", "broken")

    assert [each["name"] for each in content["forward"]] == ["broken", "live"]
    assert "paper trade: e-value" in page
    assert "12 days from 2021-03-11" in page
    assert "Stop: after 1,095 days without a decision." in page
    assert "line 1 is not what was recorded" in page


def test_a_report_without_a_forward_test_has_no_such_section(tmp_path: Path) -> None:
    content, page = written(tmp_path)

    assert content["forward"] == []
    assert "Forward test" not in page
