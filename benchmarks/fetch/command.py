"""`tradeschool fetch` as a user starts it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from process import Cost, environment, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One download: from where, into which folder, what, how fast."""

    url: str
    folder: Path
    timerange: str | None = None
    """The catalogue's when None."""
    pairs: str | None = None
    """All when None."""
    coinbase_rate: float = 200.0
    """Requests a second."""
    oanda_rate: float = 20.0
    """Requests a second."""

    def run(self) -> Cost:
        """From start to end; says a row a sealed range."""
        return run(self.command(), self.settings())

    def floor(self) -> int:
        """Pages that the plan holds."""
        planned = run([*self.command(), "--dry-run"], self.settings()).said
        return sum(planned["requests"].values())

    def start(self) -> subprocess.Popen[bytes]:
        """Started, to be killed."""
        return subprocess.Popen(
            self.command(), env=environment(self.settings()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def command(self) -> list[str]:
        """The command line."""
        options = {"--pairs": self.pairs, "--timerange": self.timerange}
        given = [word for name, value in options.items() if value for word in (name, value)]
        return [sys.executable, "-m", "tradeschool", "fetch", "--json", *given]

    def settings(self) -> Mapping[str, str]:
        """Its environment."""
        return {
            "TRADESCHOOL_FETCH__COINBASE_URL": self.url,
            "TRADESCHOOL_FETCH__OANDA_URL": self.url,
            "TRADESCHOOL_FETCH__COINBASE_RATE": str(self.coinbase_rate),
            "TRADESCHOOL_FETCH__OANDA_RATE": str(self.oanda_rate),
            "TRADESCHOOL_DATA_DIR": str(self.folder),
            "OANDA_API_TOKEN": "any",
        }


def fetched_candles(cost: Cost) -> int:
    """Candles that were asked for; derived ones come on top."""
    return sum(row["rows"] for row in cost.said if not row["derived"])


def sealed_candles(cost: Cost) -> int:
    """All candles that were sealed, derived ones too."""
    return sum(row["rows"] for row in cost.said)


def parquet_bytes(folder: Path) -> int:
    """Size of every published file."""
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def content(folder: Path) -> dict[str, str]:
    """Parquet files by their bytes, seals by all that they say but when."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name.endswith(".seal.json"):
            found[name] = json.dumps(json.loads(path.read_text()) | {"sealed_at": None})
    return found
