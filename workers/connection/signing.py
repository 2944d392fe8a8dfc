"""Signs and verifies messages in Redis with a key that coordinators and workers share.

A client with write access to Redis cannot run code on a worker, but could forge results. With a key, batches,
results, failures, loss counts and announcements need a valid signature. It covers the kind, the name of the job or
study and the time, so it cannot be reused for another message.
"""

import hmac
import json
import math
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from pydantic import JsonValue

Kind = Literal["batch", "surrogates", "result", "failure", "losses", "announcement", "committed", "strategy"]
"""Part of the signature, so that no kind passes for another."""
MAX_DEPTH = 32
"""Maximum depth of JSON; a valid batch has half of it. Python's limit depends on the call stack."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and verifies; without a key, passes everything through."""

    key: bytes | None = field(default=None, repr=False)

    def sign(self, kind: Kind, scope: str, content: str, *, at: float | None = None) -> str:
        """Sign JSON text and return the JSON text to send; `at` is Unix time, by default now."""
        if self.key is None:
            return content
        moment = round(time.time() if at is None else at, 3)
        signature = self._signature(kind, scope, moment, content)
        return json.dumps({"signed": content, "for": scope, "at": moment, "signature": signature})

    def check(self, kind: Kind, scope: str, received: object, *, now: float = 0.0, seconds: float = 0.0) -> JsonValue:
        """Verify received JSON (text or parsed) and return its content.

        `seconds`, if not 0, is the allowed difference between its time and `now`.

        Raises:
            ValueError: It is no JSON, or its signature is missing, wrong, or for another name or time.
        """
        value = loads(received)
        if self.key is None:
            return value
        content, is_for, moment = self._open(kind, value)
        if is_for != scope:
            raise ValueError(f"{kind} signed for {is_for[:80]!r}, not for {scope[:80]!r}")
        if seconds and not abs(now - moment) <= seconds:
            raise ValueError(f"{kind} signed at another time")
        return loads(content)

    def signed_for(self, received: object) -> str:
        """The name in a signed message, not verified; empty if there is none."""
        value = loads(received)
        said = value.get("for") if isinstance(value, dict) else None
        return said if isinstance(said, str) else ""

    def proof(self, kind: Kind, scope: str, content: str) -> str:
        """A signature to store beside the content; empty without a key."""
        return self._signature(kind, scope, 0.0, content) if self.key else ""

    def is_proof(self, kind: Kind, scope: str, content: str, proof: str) -> bool:
        """Whether a stored signature is valid; always True without a key."""
        return self.key is None or _is_same(proof, self._signature(kind, scope, 0.0, content))

    def _open(self, kind: Kind, value: JsonValue) -> tuple[str, str, float]:
        match value:
            case {"signed": str(content), "for": str(scope), "at": float(moment), "signature": str(signature), **rest}:
                if not rest and _is_same(signature, self._signature(kind, scope, moment, content)):
                    return content, scope, moment
        raise ValueError(f"{kind} without a valid signature: set the same work.signing_key on all machines")

    def _signature(self, kind: Kind, scope: str, moment: float, content: str) -> str:
        assert self.key is not None
        text = json.dumps([kind, scope, moment, content])
        return hmac.new(self.key, text.encode(), sha256).hexdigest()


UNSIGNED = Signer()
"""The signer without a key."""


def loads(received: object) -> JsonValue:
    """Parse JSON text, or check parsed JSON, up to `MAX_DEPTH`.

    Raises:
        ValueError: It is no JSON, or nested too deep.
    """
    try:
        value: JsonValue = json.loads(received) if isinstance(received, str | bytes) else received  # type: ignore[assignment]  # said to be JSON
    except RecursionError:
        raise ValueError("nested too deep") from None
    _require_flat(value)
    return value


def _require_flat(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        lists = [each for each in level if isinstance(each, list)]
        objects = [each for each in level if isinstance(each, dict)]
        level = [item for each in lists for item in each] + [item for each in objects for item in each.values()]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())


def is_moment(value: float) -> bool:
    """Whether a number is a valid time: finite, and not before 1970."""
    return math.isfinite(value) and value >= 0
