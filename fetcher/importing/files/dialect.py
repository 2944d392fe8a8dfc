"""Dialect of a text table, found from its first lines: separator, lines before the header, header and columns."""

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

from fetcher.importing.files.errors import invalid

SEPARATORS = ("\t", ";", "|", ",")
"""Separators, in the order of preference: a comma may also be a decimal mark."""
LEAST_FIELDS = 5
"""Fields of the narrowest table: a time and four prices."""
LEAST_NUMBERS = 4
HEADER_ROWS = 3
"""Most header rows: the price, the ticker and the name of the index (yfinance)."""
SAMPLE_LINES = 60
DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How the lines of a text table are read."""

    separator: str
    skipped: int
    """Lines before the first row of data."""
    preamble: tuple[str, ...]
    """Lines before the header, such as a vendor's address."""
    headers: tuple[tuple[str, ...], ...]
    """Header rows; empty if there are none."""
    header_line: str
    """First header row as it stands; empty if there is none."""
    fields: int
    """Fields of each row of data."""
    sample: tuple[tuple[str, ...], ...]
    """First rows of data, up to the first one that is damaged."""
    sample_lines: tuple[int, ...]
    """Numbers of their lines."""


def dialect_of(head: str, name: str) -> Dialect:
    """Find the dialect from the first lines of a text.

    Raises:
        InvalidCandles: if they are no table with at least five columns.
    """
    lines = head.split("\n")[: SAMPLE_LINES + HEADER_ROWS]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise invalid(name, "is empty; expected candles")
    preamble = []
    while numbered and _is_preamble(numbered[0][1]):
        preamble.append(numbered.pop(0)[1])
    separator = _separator([line for _, line in numbered], name)
    rows = [(number, _fields(line, separator), line) for number, line in numbered]
    headers: list[tuple[int, tuple[str, ...], str]] = []
    while rows and len(headers) < HEADER_ROWS and not has_numbers(rows[0][1]):
        headers.append(rows.pop(0))
    if not rows:
        raise invalid(name, f"has no candles after its header {headers[0][2][:80]!r}")
    number, first, _ = rows[0]
    sample = list(takewhile(lambda row: len(row[1]) == len(first) and has_numbers(row[1]), rows[:SAMPLE_LINES]))
    return Dialect(
        separator=separator,
        skipped=number - 1,
        preamble=tuple(preamble),
        headers=tuple(fields for _, fields, _ in headers),
        header_line=headers[0][2] if headers else "",
        fields=_width(rows, headers, name, number, first),
        sample=tuple(fields for _, fields, _ in sample),
        sample_lines=tuple(number for number, _, _ in sample),
    )


def has_numbers(fields: tuple[str, ...]) -> bool:
    """Whether a row has a number, in any notation, so that it is no header."""
    return any(_is_number(field) for field in fields)


def _width(
    rows: list[tuple[int, tuple[str, ...], str]],
    headers: list[tuple[int, tuple[str, ...], str]],
    name: str,
    number: int,
    first: tuple[str, ...],
) -> int:
    """Return the number of fields of a row: that of most rows, which a header must fit."""
    usual = Counter(len(fields) for _, fields, _ in rows).most_common(1)[0][0]
    expected = len(headers[0][1]) if headers else usual
    named = tuple(field for field in headers[0][1] if field.strip()) if headers else ()
    if len(first) == usual and headers and usual != expected and _fits(usual, expected, len(named), first):
        expected = usual
    if len(first) != expected:
        raise invalid(name, f"has {len(first)} fields, expected {expected}; {_hint(first)}", line=number)
    return expected


def _fits(usual: int, header: int, named: int, first: tuple[str, ...]) -> bool:
    """Whether rows and header differ only by empty fields at the end."""
    surplus = first[header:] if usual > header else ()
    return all(not field.strip() for field in surplus) and usual >= named


def _hint(first: tuple[str, ...]) -> str:
    return "the row is cut off or uses another separator" if len(first) > 1 else "it uses another separator"


def _is_preamble(line: str) -> bool:
    """Whether a line is no row of a table: an address, a comment, a spreadsheet's separator, or a title."""
    text = line.strip().lower()
    if "://" in text or text.startswith(("www.", "#", "sep=")):
        return True
    return not any(separator in line for separator in SEPARATORS) and any(letter.isalpha() for letter in text)


def _separator(lines: list[str], name: str) -> str:
    """Return the separator that splits most lines into the same number of fields."""
    best, best_share = "", 0.0
    for separator in SEPARATORS:
        widths = Counter(len(_fields(line, separator)) for line in lines)
        wide = [(count, width) for width, count in widths.items() if width >= LEAST_FIELDS]
        share = max(wide)[0] / len(lines) if wide else 0.0
        if share > best_share:
            best, best_share = separator, share
    if not best:
        shown = f", first line {lines[0][:80]!r}" if lines else ""
        raise invalid(
            name, f"is no table with at least {LEAST_FIELDS} columns separated by tab, ';', '|' or ','{shown}"
        )
    return best


def _fields(line: str, separator: str) -> tuple[str, ...]:
    if '"' not in line:
        return tuple(line.split(separator))
    try:
        return tuple(next(csv.reader([line], delimiter=separator)))
    except (csv.Error, StopIteration):
        return tuple(line.split(separator))


def _is_number(text: str) -> bool:
    """Whether a field is a number with a point or a comma, or nearly one, such as `12x`: it begins with digits."""
    text = text.strip().lstrip("+-")
    return bool(text) and text[0] in DIGITS and not any(letter.isalpha() for letter in text.replace("e", ""))
