import subprocess
import sys

import pytest

from tradeschool.cli.main import COMMANDS, main, tradeschool
from tradeschool.errors import GateNotMet

HEAVY = (
    "aiohttp polars numpy pyarrow pydantic pydantic_settings optuna rich redis rq numba matplotlib sqlalchemy msgspec"
)
PROGRAM = f"""
import sys
from tradeschool.cli.main import main
try:
    main()
finally:
    print(*sorted(set({HEAVY!r}.split()) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["-h"]], ids=" ".join)
def test_help_imports_no_heavy_library(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == ""


def test_help_lists_every_command_and_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["tradeschool", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().out

    assert ended.value.code == 0
    assert all(name in told for name in COMMANDS)
    assert "130 interrupted" in " ".join(told.split())


@pytest.mark.parametrize(("words", "lines"), [([], 1), (["--parent", "1"], 0)])
def test_only_the_user_command_reports_an_interrupt(
    words: list[str], lines: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["tradeschool", "worker", "start", *words])
    monkeypatch.setattr(tradeschool, "main", interrupt)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_an_unknown_command_has_exit_code_2(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["tradeschool", "fecth"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "No such command 'fecth'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (GateNotMet("level 1 misses its gate"), 3, "tradeschool: level 1 misses its gate"),
        (KeyboardInterrupt(), 130, "tradeschool: interrupted; stored data is kept; run the same command to resume"),
    ],
    ids=["our error", "interrupted"],
)
def test_every_error_has_its_line_and_exit_code(
    error, code: int, told: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["tradeschool", "fetch"])
    monkeypatch.setattr("tradeschool.cli.candles.fetch.load_settings", ends)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == code
    assert capsys.readouterr().err.strip() == told


def test_a_missing_settings_file_has_exit_code_2(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["tradeschool", "--config", "absent.toml", "fetch"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert capsys.readouterr().err == "tradeschool: settings file absent.toml does not exist\n"
