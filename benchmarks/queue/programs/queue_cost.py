"""What a search costs: the queue server's counters, the coordinator's processor time, and what each keeps."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import create_engine, text

COUNTERS = ("total_reads_processed", "total_net_input_bytes", "total_net_output_bytes", "used_memory")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment."""

    seconds: float
    cpu: float
    """Of this process, the coordinator."""
    resident: int
    rows: int
    """Bytes of the study's database."""
    server: dict[str, float]

    def a_trial(self, end: "Reading", trials: int) -> dict[str, float]:
        """The differences per trial, and the rate."""
        server = {name: (end.server[name] - self.server[name]) / trials for name in self.server}
        return {
            "rate": trials / (end.seconds - self.seconds),
            "coordinator_cpu": (end.cpu - self.cpu) / trials,
            "coordinator_bytes": (end.resident - self.resident) / trials,
            "database_bytes": (end.rows - self.rows) / trials,
            "commands": server["commands"],
            "requests": server["total_reads_processed"],
            "received": server["total_net_input_bytes"],
            "sent": server["total_net_output_bytes"],
            "kept": server["used_memory"],
            "server_cpu": server["cpu"],
        }


def read(connection: Redis, storage: str) -> Reading:
    """The counters now; `commands` counts those of scripts, too."""
    found = connection.info("everything")
    server = {name: float(found[name]) for name in COUNTERS}
    server["cpu"] = found["used_cpu_user"] + found["used_cpu_sys"]
    server["commands"] = float(sum(value["calls"] for name, value in found.items() if name.startswith("cmdstat_")))
    return Reading(time.monotonic(), time.process_time(), _resident(), _database_bytes(storage), server)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _database_bytes(storage: str) -> int:
    if storage.startswith("sqlite:///"):
        path = Path(storage.removeprefix("sqlite:///"))
        return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    engine = create_engine(storage)
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
