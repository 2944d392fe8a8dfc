"""Damaged variants of valid inputs: bytes removed, repeated or replaced, and JSON with wrong values."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

DEPTH = 2_000
"""Deeper than a recursive parser goes."""
ODD_TEXTS = (
    "",
    "\x00",
    "\ud800",
    "\x1b[31m",
    "\n",
    "NaN",
    "1e999",
    "-0",
    "9" * 5_000,
    "x" * 70_000,
    "__class__",
    "../../etc",
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, -1.5, 1e308, float("nan"), float("inf"), [], {}, [[]], {"a": {}}),
    *ODD_TEXTS,
)


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with a few bytes removed, repeated, inserted or replaced; sometimes random bytes."""
    edits = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4_095), st.binary(max_size=6)), max_size=6)
    return st.one_of(st.builds(_edited, st.sampled_from(seeds), edits), st.binary(max_size=200), st.just(_nested()))


def damaged_json(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """The same, or a JSON seed with values replaced, added or removed."""
    odd = st.sampled_from(ODD_VALUES) | st.integers() | st.floats() | st.text(max_size=20)
    changes = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2), odd), min_size=1, max_size=3)
    parsed = [json.loads(seed) for seed in seeds]
    return st.one_of(damaged(seeds), st.builds(_changed, st.sampled_from(parsed), changes))


def _edited(seed: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    body = bytearray(seed)
    for kind, place, piece in edits:
        at = place % (len(body) + 1)
        match kind:
            case 0:
                body[at : at + len(piece)] = piece
            case 1:
                body[at:at] = piece
            case 2:
                del body[at:]
            case 3:
                del body[at : at + 1 + len(piece)]
            case _:
                body[at:at] = body[at : at + 16 * (1 + len(piece))]
    return bytes(body)


def _changed(tree: Any, changes: Sequence[tuple[int, int, Any]]) -> bytes:
    tree = copy.deepcopy(tree)
    for place, kind, value in changes:
        nodes = list(_nodes(tree))
        if not nodes:
            break
        parent, key = nodes[place % len(nodes)]
        value = copy.deepcopy(value)  # a list put into itself later would be no JSON any more
        if kind == 0:
            parent[key] = value
        elif kind == 1:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(value)
        else:
            parent[f"{key}_"] = value
    return json.dumps(tree).encode()


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree as the container that holds it and its key there."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _nodes(value)


def _nested() -> bytes:
    return b"[" * DEPTH + b"]" * DEPTH
