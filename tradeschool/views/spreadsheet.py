"""A table as an Excel workbook: one sheet with numbers and texts, and no library.

The format is ECMA-376 (Office Open XML), of which a sheet with inline strings needs five small parts.
"""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

Cell = int | float | str | None
NEVER = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every part, so that equal tables give equal files."""
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
TYPES = (
    f'{XML}<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{KIND}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{KIND}.worksheet+xml"/></Types>'
)
RELATIONS = (
    f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{OFFICE}/%s" Target="%s"/></Relationships>'
)


def workbook(rows: Sequence[Mapping[str, Cell]], sheet: str) -> bytes:
    """Return a workbook with the columns of the rows as its first row; a missing or non-finite value is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines: list[list[Cell]] = [[*names], *([row.get(name) for name in names] for row in rows)]
    book = (
        f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        f'<sheet name={quoteattr(sheet[:31])} sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    pane = '<pane ySplit="1" topLeftCell="A2" state="frozen"/>'
    frozen = f'<sheetViews><sheetView workbookViewId="0">{pane}</sheetView></sheetViews>'
    parts = {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": RELATIONS % ("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": RELATIONS % ("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": (
            f'{XML}<worksheet xmlns="{MAIN}">{frozen}<sheetData>{"".join(_rows(lines))}</sheetData></worksheet>'
        ),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, NEVER), text.encode(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _rows(lines: Sequence[Sequence[Cell]]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        cells = "".join(_cell(f"{_column(place)}{number}", value) for place, value in enumerate(line))
        yield f'<row r="{number}">{cells}</row>'


def _cell(where: str, value: Cell) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        text = "".join(character for character in value if character >= " " or character in "\t\n")
        return f'<c r="{where}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'
    return f'<c r="{where}"><v>{int(value) if isinstance(value, bool) else value!r}</v></c>'


def _column(place: int) -> str:
    """Return the name of a column, counted from 0: A to Z, then AA."""
    name = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
