"""A whole pair in memory, written at the end: what the field's downloaders do. Runs in the peer's environment."""

import json
import sys
import time
from datetime import UTC, datetime

import pandas as pd
import requests

STEP_SECONDS = 300
PAGE = 300  # candles
BEGIN = 1_577_836_800  # 2020-01-01


def main(url: str, rate: float, pages: int, path: str) -> None:
    """Ask page after page, keep every row, write one file when all are there."""
    session = requests.Session()
    rows: list[list[float]] = []
    began = time.monotonic()
    for page in range(pages):
        time.sleep(max(0.0, began + page / rate - time.monotonic()))
        start = BEGIN + page * PAGE * STEP_SECONDS
        query = {"granularity": STEP_SECONDS, "start": iso(start), "end": iso(start + (PAGE - 1) * STEP_SECONDS)}
        response = session.get(f"{url}/products/BTC-USD/candles", params=query, timeout=30)
        response.raise_for_status()
        rows += response.json()
    frame = pd.DataFrame(rows, columns=["time", "low", "high", "open", "close", "volume"])
    frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
    frame = frame.drop_duplicates("time").sort_values("time")
    for longer in ("15min", "1h"):
        rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        frame.resample(longer, on="time").agg(rules).dropna().to_parquet(f"{path}.{longer}.parquet")
    frame.to_parquet(path, compression="zstd")
    print(json.dumps({"candles": len(frame)}))


def iso(seconds: int) -> str:
    """As Coinbase wants it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
