"""What is sent through Redis signed with a key that coordinators and workers share, where there is one.

Whoever can write to Redis cannot run anything on a worker, but could forge what decides. With a key, orders, answers,
failures, counts of losses and announcements count only with a good signature. A signature is bound to its kind, to
the name that it is for (a job or a study) and to its time, so that it cannot be used again for anything else.
"""

import hmac
import json
import math
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from pydantic import JsonValue

Kind = Literal["batch", "result", "failure", "losses", "announcement"]
"""Signed along, so that one never passes for the other."""
MAX_DEPTH = 32
"""Of JSON that is sent: an honest order has half of it. Python's own limit depends on who calls."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and checks; without a key, passes everything through unsigned."""

    key: bytes | None = field(default=None, repr=False)

    def sign(self, kind: Kind, scope: str, content: str, *, at: float | None = None) -> str:
        """The JSON text to be sent in place of `content`, itself JSON; `at` is Unix time, now where not given."""
        if self.key is None:
            return content
        moment = round(time.time() if at is None else at, 3)
        signature = self._signature(kind, scope, moment, content)
        return json.dumps({"signed": content, "for": scope, "at": moment, "signature": signature})

    def check(self, kind: Kind, scope: str, received: object, *, now: float = 0.0, seconds: float = 0.0) -> JsonValue:
        """The content of what was received: JSON text, or what such a text says.

        `seconds`, where it is not 0, is how far its time may be from `now`, before or after.

        Raises:
            ValueError: where it is no JSON, or its signature is missing, wrong, or for another name or time.
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
        """The name for which something says that it was signed, not checked; empty where it says none."""
        value = loads(received)
        said = value.get("for") if isinstance(value, dict) else None
        return said if isinstance(said, str) else ""

    def proof(self, kind: Kind, scope: str, content: str) -> str:
        """A signature that is stored beside the content; empty without a key."""
        return self._signature(kind, scope, 0.0, content) if self.key else ""

    def is_proof(self, kind: Kind, scope: str, content: str, proof: str) -> bool:
        """Whether a signature is that of the content; always so without a key."""
        return self.key is None or _is_same(proof, self._signature(kind, scope, 0.0, content))

    def _open(self, kind: Kind, value: JsonValue) -> tuple[str, str, float]:
        match value:
            case {"signed": str(content), "for": str(scope), "at": float(moment), "signature": str(signature), **rest}:
                if not rest and _is_same(signature, self._signature(kind, scope, moment, content)):
                    return content, scope, moment
        raise ValueError(f"{kind} without a good signature: do all have the same work.signing_key?")

    def _signature(self, kind: Kind, scope: str, moment: float, content: str) -> str:
        assert self.key is not None
        text = json.dumps([kind, scope, moment, content])
        return hmac.new(self.key, text.encode(), sha256).hexdigest()


UNSIGNED = Signer()
"""Where there is no key."""


def loads(received: object) -> JsonValue:
    """The value of a JSON text, or one that was parsed already, no deeper than an honest one.

    Raises:
        ValueError: where it is no JSON, or nested too deep.
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
    """Whether a number can be a time: finite, and not before 1970."""
    return math.isfinite(value) and value >= 0
