"""Settings: which source wins, what is refused and how, and that secrets stay masked."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from common import settings as module
from common.errors import UsageError
from common.resources import project_root, resource
from common.settings import (
    Settings,
    default_state_dir,
    describe,
    environment_for,
    feeds_text,
    load_settings,
    parse_speed,
)


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No GEX_ variable and no .env but the test's own; returns the working folder."""
    for name in list(os.environ):
        if name.upper().startswith("GEX_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def origins(settings: Settings) -> dict[str, tuple[str, str]]:
    """Variable → (value, where from)."""
    return {name: (value, origin) for name, value, origin in describe(settings)}


# --- which source wins -----------------------------------------------------------------------


def test_defaults_come_from_the_toml_file() -> None:
    settings = load_settings()
    assert settings.symbols == ("SPY",)
    assert settings.feed == "simulator"
    assert settings.tick_seconds == 1.0
    assert settings.listen_host == "127.0.0.1"
    assert settings.redis_url is None


def test_every_setting_but_servers_and_folder_has_a_default_in_the_file(clean: Path) -> None:
    text = (resource("config") / "default.toml").read_text(encoding="utf-8")
    named = {line.split("=")[0].strip() for line in text.splitlines() if "=" in line[:30]}
    code_only = {"state_dir", "redis_url", "broker_url", "database_url", "record_dir"}
    code_only |= {
        f"tradestation_{name}" for name in ("client_id", "client_secret", "refresh_token")
    }
    code_only |= {"backup_access_key", "backup_secret_key"}
    assert set(Settings.model_fields) - code_only == named - {""} - code_only


def test_dotenv_wins_over_the_toml_file_and_the_environment_over_both(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / ".env").write_text("GEX_FEED=none\nGEX_RATE=0.05\nOTHER=1\n")
    monkeypatch.setenv("GEX_RATE", "0.06")
    settings = load_settings()
    assert (settings.feed, settings.rate, settings.dividend_yield) == ("none", 0.06, 0.0)
    shown = origins(settings)
    assert shown["GEX_FEED"] == ("none", ".env")
    assert shown["GEX_RATE"] == ("0.06", "environment")
    assert shown["GEX_DIVIDEND_YIELD"] == ("0.0", "default")


def test_arguments_win_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_FEED", "none")
    assert load_settings(feed="recording").feed == "recording"
    assert load_settings(feed=None).feed == "none"


def test_an_empty_variable_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_SYMBOLS", "")
    monkeypatch.setenv("GEX_REDIS_URL", "")
    settings = load_settings()
    assert settings.symbols == ("SPY",)
    assert settings.redis_url is None
    assert origins(settings)["GEX_SYMBOLS"] == ("SPY", "default")


def test_unknown_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_TEST_DATA", "/data")
    assert "test_data" not in load_settings().model_dump()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().feed = "none"  # type: ignore[misc]  # that is the point


# --- values ----------------------------------------------------------------------------------


def test_symbols_are_split_and_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_SYMBOLS", " spy, Qqq ,,")
    settings = load_settings()
    assert settings.symbols == ("SPY", "QQQ")
    assert origins(settings)["GEX_SYMBOLS"] == ("SPY,QQQ", "environment")
    assert load_settings(symbols=("IWM", "SPX")).symbols == ("IWM", "SPX")


def test_rules_of_selection_are_texts_or_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_settings().expirations, load_settings().strikes) == ("5", "1000")
    assert load_settings(expirations=2).expirations == "2"
    monkeypatch.setenv("GEX_EXPIRATIONS", "0dte,4,monthlies")
    monkeypatch.setenv("GEX_STRIKES", "delta 0.02")
    settings = load_settings()
    assert (settings.expirations, settings.strikes) == ("0dte,4,monthlies", "delta 0.02")


def test_symbols_beside_the_underlying_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().quote_symbols == ("VIX",)
    monkeypatch.setenv("GEX_QUOTE_SYMBOLS", "vix, ndx")
    assert load_settings().quote_symbols == ("VIX", "NDX")
    monkeypatch.setenv("GEX_QUOTE_SYMBOLS", "none")
    assert load_settings().quote_symbols == ()


@pytest.mark.parametrize(
    ("text", "speed"), [("max", float("inf")), ("60", 60.0), ("0.5", 0.5), ("1e3", 1000.0)]
)
def test_speeds(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "nan", "inf"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither 'max' nor a positive number"):
        parse_speed(text)


def test_quant_parameters_are_those_of_the_settings() -> None:
    settings = load_settings(rate=0.031, sign="short_all", grid_points=101)
    quant = settings.quant
    assert (quant.rate, quant.sign, quant.grid_points) == (0.031, "short_all", 101)
    assert all(getattr(settings, name) == value for name, value in quant)


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("GEX_DASHBOARD_PORT=seventy", "valid integer"),
        ("GEX_DASHBOARD_PORT=70000", "less than or equal to 65535"),
        ("GEX_FEED=magic", "'simulator'"),
        ("GEX_SYMBOLS=,", "name at least one symbol, e.g. SPY"),
        ("GEX_SYMBOLS=SPY,S&P", "'S&P' is no underlying symbol"),
        ("GEX_SYMBOLS=FARTOOLONG", "'FARTOOLONG' is no underlying symbol"),
        ("GEX_SPEED=fast", "speed 'fast' is neither 'max' nor a positive number"),
        ("GEX_TICK_SECONDS=0.01", "greater than or equal to 0.05"),
        ("GEX_STALE_AFTER_SECONDS=0", "greater than 0"),
        ("GEX_LOG_LEVEL=LOUD", "'DEBUG'"),
        ("GEX_EXPIRATIONS=0dte,weeklies", "'weeklies' is no rule for expirations: 0dte, a number"),
        ("GEX_EXPIRATIONS=0", "'0' is no rule for expirations"),
        ("GEX_STRIKES=all", "'all' is no rule for strikes: a number either side of spot"),
        ("GEX_STRIKES=0%", "'0%' is no rule for strikes"),
        ("GEX_RECENTRE=1", "less than 1"),
        ("GEX_DATA_WATCHDOG_SECONDS=0", "greater than 0"),
        ("GEX_QUOTE_SYMBOLS=$VIX.X", "'$VIX.X' is no underlying symbol (plain root"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_bad_value_is_one_line_that_names_the_variable(
    place: str, given: str, message: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = given.partition("=")
    if place == "environment":
        monkeypatch.setenv(name, value)
    else:
        (clean / ".env").write_text(f"{given}\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert message in text
    assert "\n" not in text
    assert "Value error" not in text
    assert caught.value.exit_code == 2


def test_several_bad_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_REDIS_PORT", "0")
    monkeypatch.setenv("GEX_SIGN", "dealers")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == [
        "GEX_REDIS_PORT",
        "GEX_SIGN",
    ]


# --- secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL", "DATABASE_URL"])
def test_secrets_are_masked_everywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "scheme://user:hunter2@host:1234/0"
    monkeypatch.setenv(f"GEX_{name}", url)
    settings = load_settings()
    assert origins(settings)[f"GEX_{name}"] == ("********", "environment")
    for text in (str(describe(settings)), repr(settings), str(settings), str(settings.quant)):
        assert "hunter2" not in text
    secret = getattr(settings, name.lower())
    assert isinstance(secret, SecretStr)
    assert secret.get_secret_value() == url


def test_a_secret_that_is_not_set_says_so() -> None:
    assert origins(load_settings())["GEX_REDIS_URL"] == ("unset", "default")


def test_every_setting_is_described() -> None:
    settings = load_settings()
    assert list(origins(settings)) == [f"GEX_{name.upper()}" for name in Settings.model_fields]


# --- the state folder ------------------------------------------------------------------------


def test_state_stands_beside_the_code_in_a_checkout() -> None:
    root = project_root()
    assert root is not None
    assert load_settings().state_dir == root / ".gex"


def test_state_of_a_wheel_stands_in_the_users_folder(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "project_root", lambda: None)
    monkeypatch.setattr(module, "user_state_path", lambda name: clean / "state" / name)
    assert default_state_dir() == clean / "state" / "gex"
    assert load_settings().state_dir == clean / "state" / "gex"


def test_a_state_folder_is_made_absolute(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(clean))
    monkeypatch.setenv("GEX_STATE_DIR", "here")
    assert load_settings().state_dir == clean / "here"
    monkeypatch.setenv("GEX_STATE_DIR", "~/there")
    assert load_settings().state_dir == clean / "there"
    assert not (clean / "here").exists()


def test_children_see_the_same_settings(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_RATE", "0.05")
    settings = load_settings(state_dir=clean / "two")
    environment = environment_for(settings, symbols="QQQ", redis_port="7000")
    assert "GEX_STATE_DIR" not in os.environ
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    child = load_settings()
    assert child.state_dir == clean / "two"
    assert (child.symbols, child.redis_port, child.rate) == (("QQQ",), 7000, 0.05)


@pytest.mark.parametrize(
    ("name", "value"),
    [("RATE", "5"), ("RATE", "nan"), ("GRID_POINTS", "1"), ("TICK_SECONDS", "inf")],
)
def test_a_bad_quantity_is_refused_with_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GEX_{name}", value)
    with pytest.raises(UsageError, match=f"GEX_{name}"):
        load_settings()


def test_a_symbol_named_twice_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_SYMBOLS", "SPY,QQQ,spy")
    assert load_settings().symbols == ("SPY", "QQQ")


def test_symbols_may_have_feeds_of_their_own(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_SYMBOLS", "SPY,QQQ,IWM")
    monkeypatch.setenv("GEX_FEEDS", "qqq = cboe, IWM=tradestation,")
    settings = load_settings()
    assert [settings.feed_of(symbol) for symbol in settings.symbols] == [
        "simulator",
        "cboe",
        "tradestation",
    ]
    assert settings.feeds_in_use == {
        "simulator": ("SPY",),
        "cboe": ("QQQ",),
        "tradestation": ("IWM",),
    }
    assert ("GEX_FEEDS", "QQQ=cboe,IWM=tradestation", "environment") in describe(settings)
    assert load_settings(feeds=feeds_text(settings.feeds)) == settings
    assert load_settings(feeds={}).feeds_in_use == {"simulator": ("SPY", "QQQ", "IWM")}


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ("SPY", "'SPY' is no SYMBOL=FEED"),
        ("=cboe", "is no SYMBOL=FEED"),
        ("SPY=", "is no SYMBOL=FEED"),
        ("SPY=nasdaq", "Input should be 'simulator', 'tradestation' or 'cboe'"),
        ("SPY=recording", "Input should be"),
        ("SPY=cboe,spy=simulator", "SPY has two feeds"),
        ("QQQ=cboe", r"QQQ is none of the symbols followed \(SPY\)"),
    ],
)
def test_a_bad_feed_of_a_symbol_is_one_clear_line(clean: Path, feeds: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^GEX_FEEDS: .*{said}[^\n]*$"):
        load_settings(feeds=feeds)


# --- documentation ---------------------------------------------------------------------------


def test_the_readme_names_the_defaults_that_are() -> None:
    """Of each row of its table; what is unset is no number, and a folder has its own words."""
    told: dict[str, str] = {}
    for line in (project_root() / "README.md").read_text().splitlines():
        found = re.match(r"\| (`GEX_[^|]+) \| ([^|]+) \|", line)
        if found:
            told |= zip(*(re.findall(r"[\w.]+", cell) for cell in found.groups()), strict=False)
    assert len(told) >= 12
    defaults = tomllib.loads((project_root() / "config/default.toml").read_text())
    for variable, text in told.items():
        value = defaults.get(variable.removeprefix("GEX_").lower(), "")
        if text == "unset":
            assert value == "", variable
        elif isinstance(value, (int, float)):
            assert float(text) == value, variable
        elif variable != "GEX_STATE_DIR":
            assert text == value, variable
