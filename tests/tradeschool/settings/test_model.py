import re
from pathlib import Path
from typing import Any

import pytest

from tradeschool.errors import SettingsError
from tradeschool.settings import model
from tradeschool.settings.loading import load
from tradeschool.settings.meanings import setting_meanings
from tradeschool.settings.model import Settings, environment_name, setting_names
from tradeschool.settings.sections import ProviderSettings
from tradeschool.settings.urls import mask_url

TOKEN = "0123secret4567-token"


def written(name: str, text: str) -> Path:
    Path(name).write_text(text)
    return Path(name)


@pytest.mark.parametrize(
    ("places", "rate"),
    [
        ({"flag", "environment", "dotenv", "toml"}, 5.0),
        ({"environment", "dotenv", "toml"}, 6.0),
        ({"dotenv", "toml"}, 7.0),
        ({"toml"}, 8.0),
        (set(), None),
    ],
    ids=["flag", "environment", ".env", "file", "default"],
)
def test_the_source_with_the_highest_priority_wins(
    places: set[str], rate: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flag > environment > .env > tradeschool.toml > default, which is the provider's own."""
    if "environment" in places:
        monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_RATE", "6")
    if "dotenv" in places:
        written(".env", "TRADESCHOOL_FETCH__COINBASE_RATE=7\n")
    if "toml" in places:
        written("tradeschool.toml", "[fetch]\ncoinbase_rate = 8\n")

    assert load({"fetch": {"coinbase_rate": 5.0}} if "flag" in places else None).fetch.coinbase_rate == rate


def test_sources_are_merged_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_RATE", "6")
    written("tradeschool.toml", "[fetch]\noanda_rate = 1\ncoinbase_rate = 9\n")
    fetch = load().fetch

    assert (fetch.coinbase_rate, fetch.oanda_rate, fetch.patience_seconds) == (6.0, 1.0, 300.0)


def test_another_file_replaces_the_default_file() -> None:
    written("tradeschool.toml", "min_coverage = 0.7\n")

    assert load(file=written("other.toml", "min_coverage = 0.8\n")).min_coverage == 0.8


def test_a_named_file_must_exist() -> None:
    with pytest.raises(SettingsError, match=r"settings file absent\.toml does not exist"):
        load(file=Path("absent.toml"))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("OPTUNA_STORAGE", lambda it: it.storage),
        ("RQ_REDIS_URL", lambda it: it.redis_url.get_secret_value()),
        ("OANDA_API_TOKEN", lambda it: it.oanda_token()),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_variable_names_of_other_tools_are_read(
    name: str, read: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(name, "redis://there")
    else:
        written(".env", f"{name}=redis://there\n")

    assert read(load()) == "redis://there"


def test_our_variable_name_has_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", "theirs")
    monkeypatch.setenv("TRADESCHOOL_OANDA_API_TOKEN", "ours")

    assert load().oanda_token() == "ours"


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_lowercase_name_is_accepted(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "environment":
        monkeypatch.setenv("tradeschool_min_coverage", "0.8")
    else:
        written(".env", "tradeschool_min_coverage=0.8\n")

    assert load().min_coverage == 0.8


@pytest.mark.parametrize("name", ["TRADESCHOOL_FETCH__COINBASE_RAET", "tradeschool_fetch__coinbase_raet"])
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_misspelt_name_is_reported_with_its_source(place: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "environment":
        monkeypatch.setenv(name, "1")
    else:
        written(".env", f"{name}=1\n")
    where = "the environment" if place == "environment" else ".env"

    with pytest.raises(SettingsError, match=f"(?i)unknown setting {name} in {where}"):
        load()


def test_a_misspelt_name_gets_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_RAET", "1")

    with pytest.raises(SettingsError, match=r"did you mean TRADESCHOOL_FETCH__COINBASE_RATE\?"):
        load()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("data_dri = 'x'", "data_dri"),
        ("[fetch]\ncoinbase_raet = 1", "fetch.coinbase_raet"),
        ("[fecth]\ncoinbase_rate = 1", "fecth.coinbase_rate"),
        ("[fetch.coinbase_rate]\nx = 1", "fetch.coinbase_rate.x"),
        ("fetch = 3", "fetch"),
    ],
    ids=["top level", "nested", "section", "too deep", "section that is no table"],
)
def test_a_misspelt_key_of_the_file_is_reported(text: str, key: str) -> None:
    written("tradeschool.toml", text)

    with pytest.raises(SettingsError, match=re.escape(f"unknown setting {key} in tradeschool.toml")):
        load()


@pytest.mark.parametrize(
    ("place", "origin"),
    [
        ("environment", "TRADESCHOOL_FETCH__COINBASE_RATE"),
        (".env", "TRADESCHOOL_FETCH__COINBASE_RATE in .env"),
        ("file", "tradeschool.toml"),
        ("flag", "a command-line flag"),
    ],
)
def test_a_wrong_value_is_reported_with_key_value_and_source(
    place: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = None
    if place == "environment":
        monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_RATE", "fast")
    elif place == ".env":
        written(".env", "TRADESCHOOL_FETCH__COINBASE_RATE=fast")
    elif place == "file":
        written("tradeschool.toml", "[fetch]\ncoinbase_rate = 'fast'")
    else:
        flags = {"fetch": {"coinbase_rate": "fast"}}

    with pytest.raises(SettingsError) as caught:
        load(flags)
    assert str(caught.value) == (
        "fetch.coinbase_rate: input should be a valid number, unable to parse string as a number, "
        f"was 'fast' (from {origin})"
    )


def test_all_wrong_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_MIN_COVERAGE", "0.5")
    monkeypatch.setenv("TRADESCHOOL_FETCH__OANDA_RATE", "0")

    with pytest.raises(SettingsError, match=r"min_coverage: .*0\.6.*; fetch\.oanda_rate: .*greater than 0"):
        load()


def test_an_invalid_toml_file_is_reported() -> None:
    written("tradeschool.toml", "data_dir = = 3")

    with pytest.raises(SettingsError, match=r"settings file tradeschool\.toml cannot be read"):
        load()


def test_a_binary_dotenv_file_is_reported() -> None:
    Path(".env").write_bytes(b"\xff\xfe=1")

    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load()


def test_a_token_in_the_settings_file_is_refused() -> None:
    written("tradeschool.toml", f"oanda_api_token = '{TOKEN}'")

    with pytest.raises(SettingsError, match="oanda_api_token is a secret and not allowed here") as caught:
        load()
    assert TOKEN not in str(caught.value)


def test_a_token_is_read_from_a_token_file() -> None:
    written("token", f"  {TOKEN}\n")

    assert load({"oanda_api_token_file": "token"}).oanda_token() == TOKEN


def test_white_space_around_a_token_is_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", f" {TOKEN}\r\n")

    assert load().oanda_token() == TOKEN


@pytest.mark.parametrize("text", ["", " \n", f"{TOKEN}\n{TOKEN}\n", f"Bearer {TOKEN}"])
def test_an_invalid_token_file_is_reported_without_its_content(text: str) -> None:
    written("token", text)

    with pytest.raises(SettingsError, match=r"oanda_api_token_file: token: expected one word, was \d words") as caught:
        load({"oanda_api_token_file": "token"}).oanda_token()
    assert TOKEN not in str(caught.value)


def test_a_token_with_inner_white_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", f"{TOKEN}\nX-Other: header")

    with pytest.raises(SettingsError, match="oanda_api_token: expected one word, was 3 words"):
        load().oanda_token()


def test_a_missing_token_file_is_reported() -> None:
    with pytest.raises(SettingsError, match="oanda_api_token_file: cannot read absent"):
        load({"oanda_api_token_file": "absent"}).oanda_token()


def test_the_default_token_is_none() -> None:
    assert load().oanda_token() is None


def test_an_empty_token_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", "")

    assert load().oanda_token() is None


BINANCE = "TRADESCHOOL_FETCH__PROVIDERS__BINANCE__"


def test_another_provider_has_its_own_settings_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are merged key by key, as for other settings; the model only knows the provider's name."""
    written("tradeschool.toml", "[fetch.providers.binance]\nurl = 'https://file'\nrate = 4\n")
    written(".env", f"{BINANCE}RATE=5\n{BINANCE}SOURCE=dotenv\n")
    monkeypatch.setenv(f"{BINANCE}SOURCE", "spot")
    binance = load().fetch.provider("binance")

    assert (binance.url, binance.rate, binance.source) == ("https://file", 5.0, "spot")


def test_an_unset_provider_has_no_settings() -> None:
    assert load().fetch.provider("binance") == ProviderSettings()


@pytest.mark.parametrize(
    ("name", "table", "url"),
    [
        ("coinbase", "coinbase_url = 'http://here'\ncoinbase_advanced_url = 'http://there'", "http://here"),
        (
            "coinbase",
            "coinbase_source = 'advanced_trade'\ncoinbase_url = 'http://here'\ncoinbase_advanced_url = 'http://there'",
            "http://there",
        ),
        ("oanda", "oanda_url = 'http://here'", "http://here"),
    ],
    ids=["exchange", "advanced trade", "oanda"],
)
def test_coinbase_and_oanda_have_their_own_settings(name: str, table: str, url: str) -> None:
    written("tradeschool.toml", f"[fetch]\n{table}\n")

    assert load().fetch.provider(name).url == url


def test_both_coinbase_sources_share_one_rate() -> None:
    written("tradeschool.toml", "[fetch]\ncoinbase_source = 'advanced_trade'\ncoinbase_rate = 2\n")
    coinbase = load().fetch.provider("coinbase")

    assert (coinbase.source, coinbase.rate) == ("advanced_trade", 2.0)


@pytest.mark.parametrize("key", ["binance.raet", "kraken.url", "coinbase.url", "binance.url.more"])
def test_an_unknown_key_of_the_table_is_reported_with_its_source(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider with top-level settings has no entry in the table."""
    *table, name = key.split(".")
    file = written("tradeschool.toml", f"[fetch.providers.{'.'.join(table)}]\n{name} = 'x'\n")
    with pytest.raises(SettingsError, match=re.escape(f"unknown setting fetch.providers.{key} in tradeschool.toml")):
        load()
    file.unlink()
    variable = environment_name(("fetch", "providers", *key.split(".")))
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsError, match=f"unknown setting {variable} in the environment"):
        load()


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_wrong_value_of_the_table_is_reported_with_its_source(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "environment":
        monkeypatch.setenv(f"{BINANCE}RATE", "fast")
    else:
        written("tradeschool.toml", "[fetch.providers.binance]\nrate = 'fast'\n")
    origin = f"{BINANCE}RATE" if place == "environment" else "tradeschool.toml"

    with pytest.raises(SettingsError, match=rf"fetch\.providers\.binance\.rate: .*was 'fast' \(from {origin}\)"):
        load()


def test_a_token_of_the_table_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written("token", f"{TOKEN}\n")
    written("tradeschool.toml", "[fetch.providers.binance]\ntoken_file = 'token'\n")
    assert load().token("binance") == TOKEN

    monkeypatch.setenv(f"{BINANCE}TOKEN", "nearer")
    assert load().token("binance") == "nearer"
    assert "nearer" not in repr(load())


def test_a_table_token_in_the_settings_file_is_refused() -> None:
    written("tradeschool.toml", f"[fetch.providers.binance]\ntoken = '{TOKEN}'\n")

    with pytest.raises(SettingsError, match=rf"binance\.token is a secret .*; set {BINANCE}TOKEN or") as caught:
        load()
    assert TOKEN not in str(caught.value)


def test_the_oanda_token_is_a_provider_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)

    assert load().token("oanda") == TOKEN


def test_printed_settings_contain_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    monkeypatch.setenv("RQ_REDIS_URL", f"redis://:{TOKEN}@there")
    monkeypatch.setenv("OPTUNA_STORAGE", f"postgresql://me:{TOKEN}@there/db")
    loaded = load()

    assert TOKEN not in f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"


def test_a_secret_of_wrong_type_is_not_shown() -> None:
    written("tradeschool.toml", "redis_url = 12345678\n")

    with pytest.raises(SettingsError, match=r"redis_url: .* was \*\*\* \(from tradeschool\.toml\)") as caught:
        load()
    assert "12345678" not in str(caught.value)


def test_the_study_is_sqlite_in_the_state_folder_by_default(tmp_path: Path) -> None:
    assert load().storage == f"sqlite:///{tmp_path}/.tradeschool/study.sqlite3"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql+psycopg://me:pw@host/db", "postgresql+psycopg://me:***@host/db"),
        ("unix:///tmp/x.sock?password=pw&db=1", "unix:///tmp/x.sock?password=***&db=1"),
        ("sqlite:////tmp/study.sqlite3", "sqlite:////tmp/study.sqlite3"),
        ("redis://host", "redis://host"),
        ("redis://:p@ss:w@host", "redis://:***@host"),
        ("redis://:pa/ss@host", "redis://:***@host"),
        ("rediss://user:p%40w@host/1", "rediss://user:***@host/1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize("path", [path for path, _ in setting_names()], ids=".".join)
def test_every_setting_is_described_and_can_be_set_by_its_name(path: tuple[str, ...]) -> None:
    assert setting_meanings()[path]
    assert environment_name(path) == model.PREFIX + "__".join(path).upper()


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().data_dir = Path("elsewhere")  # type: ignore[misc]
