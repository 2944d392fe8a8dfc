"""`tradeschool exchange`: simulate the candle APIs of Coinbase, OANDA and Binance on this machine."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.replay import ReplayedCandles
from fetcher.simulator.candles.replay_mapping import DEFAULT_MAPPING
from fetcher.simulator.candles.source import CandleSource
from fetcher.simulator.faults import EXAMPLE, Faults
from fetcher.simulator.rate_limit import (
    BINANCE_LIMIT,
    COINBASE_ADVANCED_LIMIT,
    COINBASE_LIMIT,
    OANDA_LIMIT,
    ExchangeLimits,
    Limit,
)
from fetcher.simulator.server import Exchange, serve
from tradeschool.app.context import load_settings
from tradeschool.views.terminal import say

PORT = 8700
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """Values of the options of `exchange`; None for options that were not given."""

    replay: Path | None
    mapping: Path
    seed: int
    faults: str
    host: str
    port: int
    coinbase_limit: float | None
    oanda_limit: float | None
    binance_limit: float | None
    oanda_token: str | None
    log_path: Path | None

    def build(self) -> Exchange:
        """Return a simulator with these options."""
        source: CandleSource = GeneratedCandles(seed=self.seed)
        if self.replay:
            source = ReplayedCandles(self.replay, self.mapping)
        return Exchange(
            source,
            faults=Faults.parse(self.faults),
            seed=self.seed,
            oanda_token=self.oanda_token,
            limits=ExchangeLimits(
                coinbase=limit(self.coinbase_limit, COINBASE_LIMIT),
                coinbase_advanced=limit(self.coinbase_limit, COINBASE_ADVANCED_LIMIT),
                oanda=limit(self.oanda_limit, OANDA_LIMIT),
                binance=limit(self.binance_limit, BINANCE_LIMIT),
            ),
        )


@click.command()
@click.option("--replay", type=click.Path(path_type=Path), help="Serve real candles from parquet files in this folder.")
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    default=DEFAULT_MAPPING,
    help="TOML file that maps files to datasets.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of generated candles and faults.")
@click.option("--faults", default="", help=f"Faults to inject, for example {EXAMPLE}.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 chooses a free one.",
)
@click.option("--coinbase-limit", type=float, help="Rate limit of each Coinbase API, in requests/s.")
@click.option("--oanda-limit", type=float, help="Rate limit of the OANDA API, in requests/s.")
@click.option("--binance-limit", type=float, help="Rate limit of the Binance API, in requests/s.")
@click.option("--oanda-token", help="Required API token; any token is accepted by default.")
@click.option("--log", "log_path", type=click.Path(path_type=Path), help="Append one JSON line per request.")
def exchange(**options: Any) -> None:
    """Simulate the candle APIs of Coinbase, OANDA and Binance until interrupted.

    The simulator reproduces page limits, rate limits, errors and peculiarities of the real APIs. It serves
    generated candles by default, and real ones with --replay. Coinbase Exchange, Coinbase Advanced Trade, OANDA v20
    and Binance spot share one port.
    """
    load_settings()
    chosen = ExchangeOptions(**options)
    asyncio.run(_serve(chosen.build(), chosen.host, chosen.port, chosen.log_path))


def limit(per_second: float | None, usual: Limit) -> Limit:
    """Return a limit of `per_second` requests/s, or the provider's usual limit if it is None."""
    return usual if per_second is None else Limit(rate_per_second=per_second, burst=max(1, round(per_second)))


async def _serve(built: Exchange, host: str, port: int, log_path: Path | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(built, host=host, port=port, log_path=log_path) as served:
        say(f"exchange at {served.url}; in another terminal:")
        say(f"  export TRADESCHOOL_FETCH__COINBASE_URL={served.url} TRADESCHOOL_FETCH__OANDA_URL={served.url}")
        say(f"  export TRADESCHOOL_FETCH__PROVIDERS__BINANCE__URL={served.url} OANDA_API_TOKEN=any")
        await stopped.wait()
