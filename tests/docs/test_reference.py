"""The generated reference is up to date, and it has every name of the code and no other."""

import importlib
import re
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import tradeschool as tradeschool_api
from docsite.commands import commands, options
from docsite.errors import EXIT_CODES, error_classes
from docsite.monitoring import endpoints, facts_of, log_actions, metric_rows
from docsite.python_api import members
from docsite.reference import FOLDER, PAGES
from optimizer.level.metric_names import METRICS
from optimizer.validation.labels import TERMS
from tradeschool import errors
from tradeschool.cli.main import COMMANDS, INTERRUPTED, tradeschool
from tradeschool.settings.model import BORROWED_NAMES, PROVIDERS, setting_names
from tradeschool.settings.sections import EVENTS
from workers.coordinator.event_log import SENTENCES
from workers.web.metrics import MetricsCollector
from workers.web.topics import TopicStore

ROOT = Path(__file__).parents[2]
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")


def read(name: str) -> str:
    return (FOLDER / name).read_text()


def first_cells(text: str) -> list[str]:
    """The names in code of the first column of all tables."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def section(name: str, title: str) -> str:
    return read(name).split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_equals_the_code(name: str) -> None:
    assert read(name) == PAGES[name](), "run: ./scripts/docs --build"


def test_every_command_and_option_is_in_the_reference() -> None:
    """Counted apart from the generator: from the table of commands, through their modules."""
    text = read("commands.md")
    found: dict[str, click.Command] = {}
    for name, (place, _) in COMMANDS.items():
        module, attribute = place.split(":")
        command = getattr(importlib.import_module(f"tradeschool.cli.{module}"), attribute)
        below = command.commands.items() if isinstance(command, click.Group) else ()
        found |= {f"{name} {word}": each for word, each in below if not each.hidden} or {name: command}

    assert list(found) == list(dict.fromkeys(found))
    assert set(found) == set(commands())
    for words, command in found.items():
        level = "###" if " " in words else "##"
        part = text.split(f"\n{level} {words}\n", 1)[1].split("\n#", 1)[0]
        named = re.findall(
            r"`(--?[a-z][\w-]*)`", " ".join(line.split("|")[1] for line in part.splitlines() if "| `-" in line)
        )
        visible = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        expected = [name for each in visible for name in (*each.opts, *each.secondary_opts)]
        assert sorted(named) == sorted(name for name in expected if name not in ("-h", "--help")), words


def test_every_global_option_is_in_the_reference() -> None:
    names = [name for option in options(tradeschool) for name in option.opts]

    assert not [name for name in names if f"`{name}`" not in section("commands.md", "Global options")]


def test_every_setting_is_in_the_reference_and_no_other() -> None:
    """One row stands for the same setting of every further provider."""
    names = {".".join((*PROVIDERS, "NAME", path[-1]) if path[:2] == PROVIDERS else path) for path, _ in setting_names()}
    parts = [part for part in re.split(r"\n## ", read("settings.md")) if "| setting | value |" in part]
    listed = {name for part in parts for name in first_cells(part.split("\n`NAME`")[0])}

    assert listed == names
    assert set(BORROWED_NAMES) <= set(first_cells(section("settings.md", "Variables of other tools")))


def test_every_setting_has_a_meaning() -> None:
    assert not [".".join(path) for path, field in setting_names() if not field.description]


def test_every_exit_code_is_in_the_reference_and_no_other() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

    assert set(EXIT_CODES) == {each.exit_code for each in error_classes().values()} | {0, INTERRUPTED}
    assert {each.exit_code for each in classes} <= set(EXIT_CODES)
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", read("errors.md"), re.MULTILINE)] == list(EXIT_CODES)


def test_every_error_class_is_in_the_reference_and_no_other() -> None:
    """Counted apart from the generator: by the classes that exist once all modules are imported."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "Error)" in path.read_text() and path.name != "__main__.py":
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    pending, exist = [errors.TradeschoolError], set()
    while pending:
        each = pending.pop()
        exist.add(each.__name__)
        pending += [below for below in each.__subclasses__() if below.__module__.partition(".")[0] in PACKAGES]

    assert set(first_cells(section("errors.md", "Error classes"))) == set(error_classes())
    assert exist <= set(error_classes())
    assert not [name for name, each in error_classes().items() if not each.meaning]


def test_every_prometheus_metric_is_in_the_reference_and_no_other() -> None:
    registry = CollectorRegistry()
    registry.register(MetricsCollector(TopicStore()))
    served = re.findall(r"^# TYPE (\S+)", generate_latest(registry).decode(), re.MULTILINE)

    assert set(first_cells(section("metrics.md", "Prometheus"))) == set(served)
    assert not [name for name, _, _, meaning in metric_rows() if not meaning]


def test_every_metric_of_a_backtest_is_in_the_reference_and_no_other() -> None:
    assert set(first_cells(section("metrics.md", "Metrics of a backtest"))) == {*TERMS, *METRICS}


def test_every_recorded_event_is_in_the_reference_and_no_other() -> None:
    """Each literal name that the code records, and each default of `notify.events`, is a known event."""
    sources = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    literal = {name for text in sources for name in re.findall(r'\brecord\(\s*[^,"]+,\s*"(\w+)"', text)}

    assert len(literal) > 5
    assert literal | set(EVENTS.split(",")) <= set(SENTENCES)
    assert set(first_cells(section("events.md", "Events"))) == set(SENTENCES)
    assert not [name for name, text in SENTENCES.items() if not facts_of(text)]


def test_every_log_action_and_endpoint_is_in_the_reference_and_no_other() -> None:
    sources = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    literal = {name for text in sources for name in re.findall(r'extra=\{\s*"action": "(\w+)"', text)}

    assert {each.name for each in log_actions()} == set(first_cells(section("events.md", "Log actions")))
    assert literal <= {each.name for each in log_actions()}
    assert len(endpoints()) == section("events.md", "HTTP API").count("\n| ") - 1


def test_every_public_name_of_the_python_api_is_in_the_reference_and_no_other() -> None:
    titles = re.findall(r"^### (\w+)$", read("api.md"), re.MULTILINE)

    assert sorted(titles) == sorted(tradeschool_api.__all__)
    for public in (
        tradeschool_api.BacktestResult,
        tradeschool_api.BestTrial,
        tradeschool_api.Chart,
        tradeschool_api.Run,
    ):
        part = read("api.md").split(f"\n### {public.__name__}\n", 1)[1].split("\n### ", 1)[0]
        listed = re.findall(r"^- `(\w+)", part, re.MULTILINE)
        assert listed == list(members(public)), public
        assert {name for name in vars(public) if not name.startswith("_")} <= set(listed), public
