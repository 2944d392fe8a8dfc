"""Fault injection of the simulated exchange: configuration from text, and a seeded choice for each request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from zlib import crc32

import numpy as np

from fetcher.simulator.candles.source import SimulatedCandles
from fetcher.simulator.response import HTML, SimulatedResponse
from tradeschool.errors import SettingsError

EXAMPLE = "429=0.02,5xx=0.01,html=0.01,cut=0.01,slow=0.01,empty=0.05,duplicate=0.05,latency=80-250,outage=60+30"
FAILURE_STATUSES = (500, 502, 503, 504)


class Fault(Enum):
    """Kind of fault; the value is its key in the fault configuration."""

    NONE = "none"
    TOO_MANY = "429"
    """Status 429 although the rate limit is kept."""
    FAILURE = "5xx"
    """A server error in the provider's error envelope."""
    HTML = "html"
    """An HTML page, half of them with status 502, half with 200."""
    CUT = "cut"
    """A broken connection, half of them in the middle of the body, half before the response."""
    SLOW = "slow"
    """A body sent one byte at a time, for minutes."""
    EMPTY = "empty"
    """A response without its candles; never twice in a row for the same request."""
    DUPLICATE = "duplicate"
    """A response with one duplicate row."""
    OUTAGE = "outage"
    """Status 503 for every request during the outage."""


SHARED = (Fault.TOO_MANY, Fault.FAILURE, Fault.HTML, Fault.CUT, Fault.SLOW, Fault.EMPTY, Fault.DUPLICATE)
"""Faults that affect a fraction of requests, in the order in which they are drawn."""
OF_CANDLES = (Fault.EMPTY, Fault.DUPLICATE)
"""Faults that only affect requests for candles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Fault configuration; no faults by default."""

    shares: Mapping[Fault, float] = field(default_factory=dict)
    """Fraction of affected requests for each fault in `SHARED`; the sum is at most 1."""
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    """Minimum and maximum delay of each response."""
    outage_from_seconds: float = 0.0
    """Begin of the outage, in seconds after the start of the exchange."""
    outage_seconds: float = 0.0
    """Duration of the outage; 0 for none."""

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """Parse a configuration such as `429=0.02,empty=0.05,latency=80-250,outage=60+30`.

        Fractions are between 0 and 1, latency is minimum-maximum in milliseconds, outage is begin+duration in seconds.
        An empty text means no faults.

        Raises:
            SettingsError: if a key is unknown or repeated, a value is invalid, or the fractions exceed 1 in total.
        """
        given = _pairs(text)
        shares = {fault: _share(fault.value, given.pop(fault.value)) for fault in SHARED if fault.value in given}
        if sum(shares.values()) > 1.0:
            raise SettingsError(f"faults: the shares of {', '.join(f.value for f in shares)} add up to more than 1")
        latency = _range("latency", given.pop("latency", "0-0"), "-")
        if latency[0] > latency[1]:
            raise SettingsError(f"faults: latency: {latency[0]:g} is more than {latency[1]:g}; give the minimum first")
        outage = _range("outage", given.pop("outage", "0+0"), "+")
        for key in given:
            raise SettingsError(f"faults: unknown key {key!r}: expected keys as in {EXAMPLE}")
        return cls(
            shares=shares,
            latency_seconds=(latency[0] / 1000, latency[1] / 1000),
            outage_from_seconds=outage[0],
            outage_seconds=outage[1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultDraw:
    """Fault and delay drawn for one request."""

    fault: Fault = Fault.NONE
    chance: float = 0.0
    """Uniform number in [0, 1) that selects the variant of the fault."""
    delay_seconds: float = 0.0

    def corrupt(self, candles: SimulatedCandles) -> SimulatedCandles:
        """Apply the fault to the candles of a page."""
        if self.fault is Fault.EMPTY:
            return candles[:0]
        if self.fault is Fault.DUPLICATE and len(candles):
            doubled = int(self.chance * len(candles))
            return candles[np.insert(np.arange(len(candles)), doubled, doubled)]
        return candles

    @property
    def is_without_response(self) -> bool:
        """Whether the connection is reset before the response begins."""
        return self.fault is Fault.CUT and self.chance < 0.5


class FaultInjector:
    """Draws the fault of each request from a seed.

    The n-th occurrence of a request has the same fault in every run with the same seed, in any order of requests.
    """

    def __init__(self, faults: Faults, seed: int, monotonic: Callable[[], float]) -> None:
        self._faults = faults
        self._seed = seed
        self._monotonic = monotonic
        self._began_at = monotonic()
        self._sights: dict[str, int] = {}
        self._falsely_empty: set[str] = set()

    def draw(self, request: str, *, is_for_candles: bool) -> FaultDraw:
        """Return the fault of a request, identified by its path and query."""
        if self._is_outage():
            return FaultDraw(fault=Fault.OUTAGE)
        if not self._faults.shares and not self._faults.latency_seconds[1]:
            return FaultDraw()
        sight = self._sights[request] = self._sights.get(request, 0) + 1
        share, chance, delay = np.random.default_rng([self._seed, crc32(request.encode()), sight]).random(3).tolist()
        shortest, longest = self._faults.latency_seconds
        fault = self._allowed(self._fault(share), request, is_for_candles=is_for_candles)
        return FaultDraw(fault=fault, chance=chance, delay_seconds=shortest + delay * (longest - shortest))

    def _is_outage(self) -> bool:
        since = self._monotonic() - self._began_at - self._faults.outage_from_seconds
        return 0 <= since < self._faults.outage_seconds

    def _fault(self, share: float) -> Fault:
        for fault in SHARED:
            share -= self._faults.shares.get(fault, 0.0)
            if share < 0:
                return fault
        return Fault.NONE

    def _allowed(self, fault: Fault, request: str, *, is_for_candles: bool) -> Fault:
        if fault in OF_CANDLES and not is_for_candles:
            return Fault.NONE
        # Providers return false empty pages intermittently, so a repeated request is answered correctly; it is
        # remembered until then, even if other faults occur in between.
        if fault is Fault.EMPTY and request in self._falsely_empty:
            fault = Fault.NONE
        if fault is Fault.EMPTY:
            self._falsely_empty.add(request)
        elif fault in (Fault.NONE, Fault.DUPLICATE):
            self._falsely_empty.discard(request)
        return fault


def html_page(chance: float) -> SimulatedResponse:
    """Return the HTML error page of a proxy in front of the exchange."""
    status, title = (502, "502 Bad Gateway") if chance < 0.5 else (200, "Attention Required! | Cloudflare")
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return SimulatedResponse(status=status, body=page.encode(), content_type=HTML)


def failure_status(chance: float) -> int:
    """Return one of the server error statuses."""
    return FAILURE_STATUSES[int(chance * len(FAILURE_STATUSES))]


def _pairs(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not equals:
            raise SettingsError(f"faults: {part!r}: expected key=value, as in {EXAMPLE}")
        if key in given:
            raise SettingsError(f"faults: {key!r} is given twice; remove one")
        given[key] = value
    return given


def _share(key: str, text: str) -> float:
    share = _number(key, text, f"a fraction from 0 to 1, such as {key}=0.02")
    if share > 1:
        raise SettingsError(f"faults: {key}: expected a fraction from 0 to 1, was {text!r}")
    return share


def _range(key: str, text: str, separator: str) -> tuple[float, float]:
    form = "milliseconds such as latency=80-250" if key == "latency" else "seconds such as outage=60+30"
    first, _, second = text.partition(separator)
    return _number(key, first, form), _number(key, second, form)


def _number(key: str, text: str, form: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise SettingsError(f"faults: {key}: expected {form}, was {text!r}") from None
    if not 0 <= number < float("inf"):
        raise SettingsError(f"faults: {key}: expected {form}, was {text!r}")
    return number
