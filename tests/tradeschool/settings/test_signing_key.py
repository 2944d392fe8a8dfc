"""Signing key of the embedded server: generated once, readable only by its owner, used by default."""

import stat
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings.loading import load
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import WorkSettings
from tradeschool.settings.signing_key import NAME, signing_key


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"state_dir": tmp_path / "state"})


def test_the_key_is_created_on_first_use_and_not_by_a_reader(settings: Settings) -> None:
    looked = signing_key(settings)
    made = signing_key(settings, make=True)

    assert looked is None
    assert made == signing_key(settings) == signing_key(settings, make=True)
    assert len(made or b"") == 64
    assert stat.S_IMODE((settings.state_dir / NAME).stat().st_mode) == 0o600
    assert [path.name for path in settings.state_dir.iterdir()] == [NAME]


def test_concurrent_creators_get_the_same_key(settings: Settings) -> None:
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(signing_key(settings, make=True))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_child_process_gets_the_same_key(settings: Settings) -> None:
    url = SecretStr(EmbeddedValkey.of(settings.state_dir).url)
    child = settings.model_copy(update={"redis_url": url})

    assert signing_key(settings, make=True) == signing_key(child)


def test_an_external_server_uses_only_the_configured_key(settings: Settings) -> None:
    signing_key(settings, make=True)
    elsewhere = settings.model_copy(update={"redis_url": SecretStr("redis://host:6379/0")})
    keyed = elsewhere.model_copy(update={"work": WorkSettings(signing_key=SecretStr("x" * 20))})

    assert (signing_key(elsewhere, make=True), signing_key(keyed)) == (None, b"x" * 20)


def test_a_key_readable_by_others_is_refused(settings: Settings) -> None:
    signing_key(settings, make=True)
    (settings.state_dir / NAME).chmod(0o640)

    with pytest.raises(SettingsError, match="readable by other users: remove it"):
        signing_key(settings)


def test_a_truncated_key_is_refused(settings: Settings) -> None:
    signing_key(settings, make=True)
    (settings.state_dir / NAME).write_text("short")

    with pytest.raises(SettingsError, match="expected 64 characters, was 5: remove it"):
        signing_key(settings)


def test_an_unwritable_state_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnwritable, match="set state_dir to a folder that you own"):
        signing_key(load({"state_dir": tmp_path / "file"}), make=True)


@pytest.mark.parametrize(("given", "found"), [("a:X,b.c:Y", ("a:X", "b.c:Y")), (" a:X ", ("a:X",)), ("", ())])
def test_strategies_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, given: str, found: object) -> None:
    monkeypatch.setenv("TRADESCHOOL_WORK__STRATEGIES", given)

    assert load().work.strategies == found


def test_a_strategy_without_a_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_WORK__STRATEGIES", "sma_cross")

    with pytest.raises(SettingsError, match=r"work\.strategies\.0: .*, was 'sma_cross'"):
        load()
