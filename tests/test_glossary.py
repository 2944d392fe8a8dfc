"""Every label of report and page contains a term of `docs/glossary.md` or is an everyday word."""

import re
from functools import cache
from pathlib import Path

import pytest

from optimizer.level.metric_names import METRICS
from optimizer.validation.labels import TERMS, label

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
REPORT = (ROOT / "optimizer" / "report" / "templates" / "report.html").read_text()
STATIC = ROOT / "workers" / "web" / "static"
PAGE = "\n".join(path.read_text() for path in sorted(STATIC.glob("*")) if path.suffix in {".html", ".js"})
EVERYDAY = frozenset(
    {
        "host",
        "address",
        "ended",
        "case",
        "attempts",
        "glossary",
        "job",
        "value",
        "95 %",
        "passed by",
        "throughput",
        "part",
        "net profit",
        "days",
        "equity and drawdown",
        "processor",
        "required",
        "required for",
        "result",
        "retry all",
        "window",
        "5 %",
        "error",
        "median",
        "number",
        "file",
        "provenance",
        "age",
        "timeline",
        "name",
        "state",
        "reason",
        "memory",
    }
)
"""Labels that need no explanation."""


@cache
def glossary_terms() -> frozenset[str]:
    """The first column, each name of a row on its own, in lower case and without an abbreviation in parentheses."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", GLOSSARY, flags=re.MULTILINE)
    names = [name.strip(" `").lower() for row in rows if row != "term" for name in re.split(r", | \(|\)", row)]
    return frozenset(name for name in names if name and not name.startswith("---"))


@cache
def term_patterns() -> list[re.Pattern[str]]:
    """Patterns of all terms, without punctuation."""
    known = (re.sub(r"[^\w %]+", " ", term.replace("-", " ")) for term in glossary_terms())
    return [re.compile(rf"\b{re.escape(term)}s?\b") for term in known]


def is_explained(text: str) -> bool:
    words = text.lower().replace("max ", "maximum ").replace("-", " ")
    plain = re.sub(r"[^\w %]+", " ", words)
    return text.lower() in EVERYDAY or any(pattern.search(plain) for pattern in term_patterns())


def labels(source: str, pattern: str) -> list[str]:
    found = (re.sub(r"\{[{%].*?[%}]\}|<[^>]+>", "", text).strip(" :,") for text in re.findall(pattern, source))
    return sorted({text for text in found if re.search("[a-z]", text, re.IGNORECASE)})


REPORT_LABELS = labels(REPORT, r"<(?:th|h2|h3)(?: [^>]*)?>(.*?)</(?:th|h2|h3)>")
PAGE_LABELS = (
    labels(PAGE, r"<h[23][^>]*>(.*?)<")
    + labels(PAGE, r'\btile\("([^"]+)"')
    + labels(PAGE, r'h\("th", \{[^}]*\}, "([^"]+)"')
)


def test_the_label_search_finds_labels() -> None:
    assert len(REPORT_LABELS) > 30
    assert len(PAGE_LABELS) > 20
    assert len(glossary_terms()) > 150


@pytest.mark.parametrize("name", TERMS)
def test_every_term_of_the_report_has_an_entry(name: str) -> None:
    assert is_explained(TERMS[name].label)
    assert TERMS[name].meaning


@pytest.mark.parametrize("text", REPORT_LABELS)
def test_every_heading_of_the_report_has_an_entry(text: str) -> None:
    assert is_explained(text)


@pytest.mark.parametrize("text", PAGE_LABELS)
def test_every_label_of_the_page_has_an_entry(text: str) -> None:
    assert is_explained(text)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_label_with_an_entry(metric: str) -> None:
    assert metric in TERMS
    assert is_explained(label(metric))
