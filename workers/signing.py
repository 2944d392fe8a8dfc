"""Orders and answers signed with a key that conductors and workers share, where there is one.

Whoever can write to Redis cannot run anything on a worker, but could forge results. With a key, a worker evaluates
signed orders only, and a conductor takes in signed answers only.
"""

import hmac
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from pydantic import JsonValue

Kind = Literal["order", "answer"]
"""Signed along, so that one never passes for the other."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and checks; without a key, passes everything through unsigned."""

    key: bytes | None = field(default=None, repr=False)

    def sign(self, kind: Kind, content: str) -> str:
        """The JSON text to be sent in place of `content`, itself JSON."""
        if self.key is None:
            return content
        return json.dumps({"signed": content, "signature": self._signature(kind, content)})

    def check(self, kind: Kind, received: object) -> JsonValue:
        """The content of what was received: JSON text, or what such a text says.

        Raises:
            ValueError: where it is no JSON, or its signature is missing or wrong.
        """
        value: JsonValue = json.loads(received) if isinstance(received, str | bytes) else received  # type: ignore[assignment]  # said to be JSON
        if self.key is None:
            return value
        match value:
            case {"signed": str(content), "signature": str(signature), **rest} if not rest:
                if hmac.compare_digest(signature.encode(), self._signature(kind, content).encode()):
                    found: JsonValue = json.loads(content)
                    return found
        raise ValueError(f"an {kind} without a good signature: do all have the same work.signing_key?")

    def _signature(self, kind: Kind, content: str) -> str:
        assert self.key is not None
        return hmac.new(self.key, f"{kind}:{content}".encode(), sha256).hexdigest()


UNSIGNED = Signer()
"""Where there is no key."""
