"""Folders with unusual names: paths are handled correctly, and unsupported ones are rejected."""

import os
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.storages import RDBStorage
from redis.connection import parse_url
from sqlalchemy.engine import make_url

from fetcher import locks
from fetcher.download.page_ledger import PageLedger
from optimizer.search.database import Database
from tradeschool import private_folders
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings import loading
from tradeschool.settings.urls import sqlite_url
from workers.coordinator.leadership import acquire_leadership, has_leader
from workers.queue.trial_queue import connect

NAMES = {
    "space": "ein Ordner",
    "equals": "a=b",
    "hash": "a#b",
    "percent": "100%25",
    "question mark": "what?mode=memory",
    "semicolon and ampersand": "a;b&c",
    "quotes": 'it\'s "so"',
    "backslash": "a\\b",
    "braces": "{SCHEMA_VERSION}{x}",
    "umlaut": "Bücher",
    "emoji": "🦜",
    "dash": "-n",
    "tilde": "~nobody-of-that-name",
    "long": "l" * 200,
}
every_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())


@pytest.fixture
def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


@every_name
def test_a_study_is_found_in_its_folder(folder: Path) -> None:
    path = folder / "study.sqlite3"
    url = sqlite_url(path)
    storage = RDBStorage(url)
    storage.engine.dispose()
    looked = Database(url).ask(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one(), is_known=True)

    assert make_url(url).database == str(path)
    assert looked == 1
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]
    assert [each.name for each in folder.iterdir()] == ["study.sqlite3"]


@every_name
def test_a_run_is_locked_beside_its_study(folder: Path) -> None:
    url = sqlite_url(folder / "study.sqlite3")
    leadership = acquire_leadership(url, "r")

    assert leadership is not None
    assert has_leader(url, "r")
    leadership.release()
    assert [each.name for each in folder.iterdir()] == ["study.sqlite3.r.coordinator"]


@every_name
def test_a_socket_path_has_no_url_characters(folder: Path) -> None:
    valkey = EmbeddedValkey.of(folder)

    assert parse_url(valkey.url)["path"] == str(valkey.socket)
    assert set(str(valkey.socket)).isdisjoint(" =#%?;&'\"\\{}~")
    assert len(os.fsencode(valkey.socket)) <= 100


def test_the_environment_does_not_change_the_socket_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes must find the same server."""
    valkey = EmbeddedValkey.of(Path("/somewhere with a space"))
    before = valkey.socket
    for name in ("TMPDIR", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, "/elsewhere")

    assert EmbeddedValkey.of(Path("/somewhere with a space")).socket == before
    assert before.parent.parent.stat().st_mode & 0o777 == 0o700


@every_name
def test_a_ledger_is_created_in_its_folder(folder: Path) -> None:
    PageLedger(folder).close()

    with closing(sqlite3.connect(folder / ".ledger.sqlite3")) as ledger:
        assert ledger.execute("SELECT count(*) FROM pages").fetchone() == (0,)


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x7f", "\udcff"])
@pytest.mark.parametrize("setting", ["data_dir", "results_dir", "state_dir"])
def test_a_folder_with_control_characters_is_refused(setting: str, character: str) -> None:
    with pytest.raises(SettingsError, match=f"^{setting} '/a.*: expected a path without control characters") as refused:
        loading.load({setting: Path(f"/a{character}b/c")})

    assert "\n" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_working_folder_with_control_characters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a\nb").mkdir()
    monkeypatch.chdir(tmp_path / "a\nb")

    with pytest.raises(SettingsError, match=r"data_dir .*expected a path without control characters"):
        loading.load()


def test_a_tilde_expands_to_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", "~/candles")

    assert loading.load().data_dir == tmp_path / "candles"


def test_a_tilde_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"data_dir: .*cannot be expanded to a home folder"):
        loading.load({"data_dir": Path("~no-user-of-that-name/x")})


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime folder of a user whose home folder is `home`."""
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(tmp_path / "home")))
    monkeypatch.setattr(private_folders, "Path", lambda text: tmp_path if text == "/tmp" else Path(text))
    return tmp_path / f"tradeschool-{os.getuid()}"


def test_the_socket_folder_permissions_are_restored(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    runtime.chmod(0o755)

    assert private_folders.runtime_folder().stat().st_mode & 0o777 == 0o700


def test_a_symlink_as_socket_folder_is_not_followed(runtime: Path, tmp_path: Path) -> None:
    """Another user could have created it to redirect our files."""
    (tmp_path / "theirs").mkdir()
    runtime.symlink_to(tmp_path / "theirs")

    assert private_folders.runtime_folder() == tmp_path / "home" / ".cache" / "tradeschool-run"
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_socket_folder_of_another_user_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: theirs)
    runtime.with_name(f"tradeschool-{theirs}").mkdir()
    (runtime.parent / "home" / ".cache" / "tradeschool-run").mkdir(parents=True)

    with pytest.raises(StoreUnwritable, match=r"neither .* can be created or belongs to this user"):
        private_folders.runtime_folder()


def test_provider_locks_are_private() -> None:
    assert locks.of_provider("coinbase", "http://a").parent.parent == private_folders.runtime_folder()


@pytest.mark.parametrize("url", ["unix:///a#b/s.sock", "unix:///a?b/s.sock", "unix:///s.sock?db=0#x"])
def test_an_unescaped_path_in_a_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"write %23 for #, and %3F for \?"):
        connect(url)
