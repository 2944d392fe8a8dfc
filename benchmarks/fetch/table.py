"""The ten targets, what was reached, and the two files that say so."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    target: int
    """Number of the target it belongs to."""
    what: str
    wanted: str
    """Empty where the figure only puts another in its place."""
    reached: str
    met: bool | None = None
    """None where nothing is wanted."""


def markdown(rows: list[Row], about: dict[str, str]) -> str:
    """The table, and what it was measured on."""
    lines = ["| target | what | wanted | reached | |", "|---|---|---|---|---|"]
    for row in rows:
        verdict = {True: "met", False: "missed", None: ""}[row.met]
        lines.append(f"| {row.target} | {row.what} | {row.wanted} | {row.reached} | {verdict} |")
    notes = [f"- {name}: {value}" for name, value in about.items()]
    return "\n".join([*lines, "", *notes, ""])


def machine() -> dict[str, str]:
    """Where and when, as far as it matters."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return {
        "measured at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {system}",
        "load at start": f"{os.getloadavg()[0]:.1f}",
    }


def write(rows: list[Row], about: dict[str, str], name: str) -> Path:
    """Write JSON and Markdown; where the latter is."""
    RESULTS.mkdir(exist_ok=True)
    values = {"about": about, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")
    path = RESULTS / f"{name}.md"
    path.write_text(markdown(rows, about))
    return path
