"""The reference pages of metrics, events, log actions and HTTP endpoints, from the code that emits them."""

import ast
import json
import string
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from docsite.errors import PACKAGES, ROOT
from docsite.markdown import code, page, table
from optimizer.level.metric_names import METRICS
from optimizer.validation.labels import TERMS
from tradeschool.settings.sections import EVENTS
from workers.coordinator.event_log import SENTENCES
from workers.web.metrics import MetricsCollector
from workers.web.topics import TopicStore

LEVELS = ("debug", "info", "warning", "error", "exception")
METRICS_TEXT = """\
`tradeschool serve` serves the metrics at `/metrics`. [Operations](../how-to/operations.md#metrics) describes
scraping, alerts and the
dashboard. The `rq_` metrics have the names and labels of rq-exporter, which does not support RQ 3."""
TERMS_TEXT = """\
`backtest --json`, `metrics.json` and the trial table use these names. [Backtest](../explanation/backtest.md#metrics)
has the formulas.
A metric in the first table can be a gate criterion or a constraint."""
EVENTS_TEXT = """\
Each event is a line of `results/RUN/events.jsonl`: `time`, `event` and the facts below. The page's timeline shows
the sentence.
`notify.events` selects the events that are sent as [notifications](../how-to/operations.md#notifications). A
`digest` is sent every
`notify.digest_minutes` minutes; it is no event of a run, so it is not in the event log."""
ACTIONS_TEXT = """\
Each log line has a constant message. With `--log-format json`, it also has `action`, a name that does not change
when the message
does. `-v` shows the lines of level `info`. Events of the table above are logged under their own names at level
`info`."""
HTTP_TEXT = "`/api/openapi.json` has the schema of every response; tests validate every response against it."


class LogAction(NamedTuple):
    """An action of the log with its levels and messages."""

    name: str
    levels: tuple[str, ...]
    messages: tuple[str, ...]


def metric_rows() -> list[tuple[str, str, str, str]]:
    """Return name, type, labels and meaning of every Prometheus metric."""
    found = []
    for family in MetricsCollector(TopicStore()).collect():
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(code(each) for each in family._labelnames)  # type: ignore[attr-defined]  # all families have it
        found.append((code(family.name + suffix), family.type, labels, family.documentation))
    return found


def metrics_page() -> str:
    """Return the page of Prometheus metrics and of the metrics of a backtest."""
    criteria = [(code(name), TERMS[name].label, TERMS[name].meaning) for name in METRICS]
    others = [(code(name), term.label, term.meaning) for name, term in TERMS.items() if name not in METRICS]
    head = ("name", "label", "meaning")
    return page(
        "Metrics",
        "## Prometheus",
        METRICS_TEXT,
        table(("metric", "type", "labels", "meaning"), metric_rows()),
        "## Metrics of a backtest",
        TERMS_TEXT,
        table(head, criteria),
        "Checks, and values that only reports show:",
        table(head, others),
    )


def events_page() -> str:
    """Return the page of events, log actions and HTTP endpoints."""
    sent = EVENTS.split(",")
    events = [
        (code(name), ", ".join(code(each) for each in facts_of(text)), text, "yes" if name in sent else "no")
        for name, text in sorted(SENTENCES.items())
    ]
    actions = [(code(each.name), ", ".join(each.levels), "; ".join(each.messages)) for each in log_actions()]
    return page(
        "Events, log and HTTP API",
        "## Events",
        EVENTS_TEXT,
        table(("event", "facts", "sentence", "sent by default"), events),
        "## Log actions",
        ACTIONS_TEXT,
        table(("action", "level", "message"), actions),
        "## HTTP API",
        HTTP_TEXT,
        table(("method", "path", "returns"), endpoints()),
    )


def facts_of(sentence: str) -> list[str]:
    """Return the names of the facts in the sentence of an event."""
    return [name for _, name, _, _ in string.Formatter().parse(sentence) if name]


def endpoints() -> list[tuple[str, str, str]]:
    """Return method, path and summary of every HTTP endpoint."""
    described = json.loads((ROOT / "workers" / "web" / "static" / "openapi.json").read_text())
    return [
        (method.upper(), code(path), str(each["summary"]))
        for path, methods in described["paths"].items()
        for method, each in methods.items()
    ]


def log_actions() -> list[LogAction]:
    """Return every log action whose name the code states, in order of name."""
    levels: dict[str, set[str]] = defaultdict(set)
    messages: dict[str, set[str]] = defaultdict(set)
    for level, message, action in _log_calls():
        levels[action].add(level)
        messages[action].add(message)
    return [LogAction(name, tuple(sorted(levels[name])), tuple(sorted(messages[name]))) for name in sorted(levels)]


def _log_calls() -> Iterator[tuple[str, str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (*LEVELS, "log"):
                    yield from _log_call(node)


def _log_call(node: ast.Call) -> Iterator[tuple[str, str, str]]:
    level = getattr(node.func, "attr", "")
    texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    actions = [
        value.value
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
        for key, value in zip(keyword.value.keys, keyword.value.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "action" and isinstance(value, ast.Constant)
    ]
    if texts and actions:
        yield {"log": "warning", "exception": "error"}.get(level, level), texts[0], str(actions[0])
