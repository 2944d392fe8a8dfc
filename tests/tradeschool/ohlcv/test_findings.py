from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradeschool.errors import InvalidCandles
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.findings import SEVERITIES, Finding, FindingKind, Severity, refuse

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "files.md").read_text()
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)


def found(kind: FindingKind) -> Finding:
    start, end = datetime(2020, 12, 29, tzinfo=UTC), datetime(2020, 12, 30, tzinfo=UTC)
    return Finding(kind=kind, start=start, end=end, rows=3, message="on 3 days")


def test_a_refusing_finding_names_dataset_kind_place_and_advice() -> None:
    findings = [found(FindingKind.UNFINISHED), found(FindingKind.WRONG_STEP), found(FindingKind.PRICE_SCALE)]

    with pytest.raises(
        InvalidCandles,
        match=r"^coinbase/BTC-USD/M5: wrong step in 2020-12-29\.\.2020-12-30: on 3 days \(and 1 more\); do this$",
    ):
        refuse(BTC, findings, "do this")


def test_a_warning_refuses_nothing() -> None:
    refuse(BTC, [found(kind) for kind in FindingKind if kind.severity is Severity.WARN], "never told")


def test_every_finding_has_a_severity_and_a_reference_row() -> None:
    assert not [kind for kind in FindingKind if f"| `{kind}` | {SEVERITIES[kind]} |" not in REFERENCE]


def test_a_finding_survives_a_json_round_trip() -> None:
    finding = found(FindingKind.OUT_OF_SESSION)

    assert Finding.model_validate_json(finding.model_dump_json()) == finding
