"""Every setting, from the environment, a ``.env`` file and ``config/default.toml``.

Owns the only reading of the environment and of ``config/``; must not connect to anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from platformdirs import user_state_path
from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from common.errors import UsageError
from common.resources import project_root, resource
from common.selection import ExpirationRule, StrikeRule

PREFIX = "GEX_"
FeedSetting = Literal["simulator", "tradestation", "cboe", "recording", "none"]
LiveFeed = Literal["simulator", "tradestation", "cboe"]
SignSetting = Literal["index", "short_all", "flow"]
WallsSetting = Literal["spot", "prior_close"]
Positive = Annotated[float, Field(gt=0)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+[^\s]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class QuantParameters(BaseModel, frozen=True, allow_inf_nan=False):
    """What the quantities depend on beside the chain itself."""

    sign: SignSetting = "index"
    walls_at: WallsSetting = "spot"
    rate: float = Field(default=0.04, gt=-1, lt=1)
    dividend_yield: float = Field(default=0.0, gt=-1, lt=1)
    max_spread_share: Positive = 0.5
    wing_spread: float = Field(default=0.02, ge=0)
    max_quote_age_seconds: Positive = 900.0
    parity_pairs: int = Field(default=10, ge=1)
    min_parity_pairs: int = Field(default=3, ge=1)
    grid_width: float = Field(default=0.15, gt=0, lt=1)
    grid_points: int = Field(default=301, ge=11, le=10001)


class Settings(BaseSettings):
    """The settings in force; attribute names are the environment names without ``GEX_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    state_dir: Path = Field(default_factory=lambda: default_state_dir())  # noqa: PLW0108  defined below
    redis_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    database_url: SecretStr | None = None
    listen_host: str
    redis_port: Port
    dashboard_port: Port
    flower_port: Port
    simulator_port: Port
    redis_maxmemory_mb: int = Field(ge=16)

    symbols: Annotated[tuple[str, ...], NoDecode]
    feed: FeedSetting
    feeds: Annotated[dict[str, LiveFeed], NoDecode]
    """Symbols that another feed than ``feed`` serves."""
    recording: str
    record_dir: Path | None = None
    record_rotate_mb: Positive
    record_rotate_hours: Positive
    speed: str
    simulator_seed: int
    simulator_faults: str
    stale_after_seconds: Positive
    expirations: str
    strikes: str
    recentre: float = Field(ge=0, lt=1)
    near_money: int = Field(ge=0, le=1000)
    quote_symbols: Annotated[tuple[str, ...], NoDecode]
    first_row_seconds: Positive
    data_watchdog_seconds: Positive

    cboe_url: HttpUrl
    cboe_poll_seconds: Positive

    tradestation_api_url: HttpUrl
    tradestation_signin_url: HttpUrl
    tradestation_client_id: str = ""
    tradestation_client_secret: SecretStr | None = None
    tradestation_refresh_token: SecretStr | None = None
    tradestation_redirect_uri: HttpUrl
    tradestation_scopes: str
    tradestation_pkce: bool
    tradestation_streams: int = Field(ge=2, le=1000)
    tradestation_count_quotes: bool
    tradestation_max_symbols: int = Field(ge=2, le=1000)
    tradestation_date_format: Literal["MM-DD-YYYY", "YYYY-MM-DD", "ISO"]

    flush_milliseconds: Positive
    flush_rows: int = Field(ge=1, le=100_000)
    reappend_seconds: Positive
    reappend_mb: Positive
    greeks_workers: int = Field(ge=1, le=64)
    lease_seconds: Positive
    reclaim_seconds: Positive
    max_deliveries: int = Field(ge=1)
    watchdog_seconds: Positive
    keep_seconds: float = Field(ge=0)
    spool_share: float = Field(gt=0, lt=1)
    conflate_share: float = Field(gt=0, lt=1)
    hold_share: float = Field(gt=0, lt=1)
    conflated_flush_seconds: Positive
    spool_max_mb: float = Field(ge=1)
    gather_milliseconds: float = Field(ge=0, le=10_000)
    commit_milliseconds: float = Field(ge=0, le=1_000)

    keep_quotes_days: float = Field(ge=0)
    keep_greeks_days: float = Field(ge=0)
    keep_levels_days: float = Field(ge=0)
    keep_strikes_days: float = Field(ge=0)
    compress_after_hours: float = Field(ge=0)
    upkeep_seconds: Positive
    conflate_seconds: float = Field(ge=0)
    statement_seconds: float = Field(ge=0.1)

    backup_url: str
    backup_endpoint_url: str
    backup_region: str
    backup_access_key: SecretStr | None = None
    backup_secret_key: SecretStr | None = None
    backup_seconds: Positive

    live_share: float = Field(ge=0, le=1)
    tick_seconds: float = Field(ge=0.05)
    replay_tick_seconds: Positive
    strike_seconds: Positive
    sign: SignSetting
    walls_at: WallsSetting
    rate: float
    dividend_yield: float
    max_spread_share: float
    wing_spread: float
    max_quote_age_seconds: float
    parity_pairs: int
    min_parity_pairs: int
    grid_width: float
    grid_points: int

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        value = _symbols(value)
        if not value:
            raise ValueError("name at least one symbol, e.g. SPY")
        return value

    @field_validator("quote_symbols", mode="before")
    @classmethod
    def _split_quote_symbols(cls, value: object) -> object:
        return () if value == "none" else _symbols(value)

    @field_validator("expirations", "strikes", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("expirations")
    @classmethod
    def _check_expirations(cls, value: str) -> str:
        ExpirationRule.parse(value)
        return value

    @field_validator("strikes")
    @classmethod
    def _check_strikes(cls, value: str) -> str:
        StrikeRule.parse(value)
        return value

    @field_validator("feeds", mode="before")
    @classmethod
    def _split_feeds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found: dict[str, str] = {}
        for part in filter(None, map(str.strip, value.split(","))):
            symbol, equals, feed = (each.strip() for each in part.partition("="))
            if not (symbol and equals and feed):
                raise ValueError(f"{part!r} is no SYMBOL=FEED, e.g. SPY=tradestation,QQQ=cboe")
            if found.setdefault(symbol.upper(), feed.lower()) != feed.lower():
                raise ValueError(f"{symbol.upper()} has two feeds")
        return found

    @field_validator("feeds")
    @classmethod
    def _check_feeds(cls, value: dict[str, LiveFeed], info: ValidationInfo) -> dict[str, LiveFeed]:
        symbols = info.data.get("symbols", value)
        for symbol in value:
            if symbol not in symbols:
                raise ValueError(f"{symbol} is none of the symbols followed ({','.join(symbols)})")
        return value

    @field_validator("speed")
    @classmethod
    def _check_speed(cls, value: str) -> str:
        parse_speed(value)
        return value

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("conflate_share", "hold_share")
    @classmethod
    def _check_marks(cls, value: float, info: ValidationInfo) -> float:
        below = {"conflate_share": "spool_share", "hold_share": "conflate_share"}
        lower = below[info.field_name or ""]
        if value < info.data.get(lower, value):
            raise ValueError(f"{value} is below {PREFIX}{lower.upper()} ({info.data[lower]})")
        return value

    def feed_of(self, symbol: str) -> FeedSetting:
        """The feed of a symbol."""
        return self.feeds.get(symbol, self.feed)

    @property
    def feeds_in_use(self) -> dict[FeedSetting, tuple[str, ...]]:
        """Each feed that serves something, with its symbols."""
        found: dict[FeedSetting, tuple[str, ...]] = {}
        for symbol in self.symbols:
            feed = self.feed_of(symbol)
            found[feed] = (*found.get(feed, ()), symbol)
        return found

    @property
    def quant(self) -> QuantParameters:
        """The part of the settings that the quantities depend on."""
        return QuantParameters(
            **{name: getattr(self, name) for name in QuantParameters.model_fields}
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then ``.env``, then ``config/default.toml``."""
        defaults = TomlConfigSettingsSource(settings_cls, resource("config") / "default.toml")
        return init_settings, env_settings, dotenv_settings, defaults


def _symbols(value: object) -> object:
    """Plain roots, each once, of a text with commas.

    :raises ValueError: for what is none.
    """
    if isinstance(value, str):
        value = tuple(part.strip().upper() for part in value.split(",") if part.strip())
    value = tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value
    for symbol in value if isinstance(value, tuple) else ():
        if not symbol.isalnum() or len(symbol) > 8:
            raise ValueError(f"{symbol!r} is no underlying symbol (plain root: SPY, SPX)")
    return value


def default_state_dir() -> Path:
    """``.gex`` beside the code in a checkout, else the user's state directory."""
    root = project_root()
    return root / ".gex" if root else user_state_path("gex")


def load_settings(**overrides: Any) -> Settings:
    """The settings in force; ``None`` among the overrides means 'not given'.

    :raises UsageError: with one line a bad setting, naming its variable.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
        _ = settings.quant  # its bounds are those of the settings of the same names
        return settings
    except ValidationError as error:
        parts = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "?"
            parts.append(f"{PREFIX}{name.upper()}: {problem['msg'].removeprefix('Value error, ')}")
        raise UsageError("; ".join(parts)) from error


def parse_speed(text: str) -> float:
    """Replay speed as a multiple of real time; ``max`` is infinity.

    :raises ValueError: when ``text`` is neither ``max`` nor a positive number.
    """
    if text == "max":
        return float("inf")
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ValueError(f"speed {text!r} is neither 'max' nor a positive number")
    return speed


def feeds_text(feeds: Mapping[str, str]) -> str:
    """Feeds of symbols as a setting spells them: ``SPY=tradestation,QQQ=cboe``."""
    return ",".join(f"{symbol}={feed}" for symbol, feed in feeds.items())


def environment_for(settings: Settings, **changes: str) -> dict[str, str]:
    """The environment a child process needs to see the same settings as this one.

    :param changes: settings to pass on, by attribute name, as text.
    """
    passed = {f"{PREFIX}{name.upper()}": value for name, value in changes.items()}
    return {**os.environ, f"{PREFIX}STATE_DIR": str(settings.state_dir), **passed}


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """``(name, value, where from)`` of every setting, secrets masked."""
    in_file = {name.upper() for name, value in dotenv_values(".env").items() if value}
    in_environment = {name.upper() for name, value in os.environ.items() if value}
    rows = []
    for name in type(settings).model_fields:
        variable = PREFIX + name.upper()
        value = getattr(settings, name)
        shown = "unset" if value is None else "********" if isinstance(value, SecretStr) else value
        if isinstance(shown, tuple):
            shown = ",".join(shown)
        elif isinstance(shown, dict):
            shown = feeds_text(shown) or "unset"
        if variable in in_environment:
            origin = "environment"
        elif variable in in_file:
            origin = ".env"
        else:
            origin = "default"
        rows.append((variable, str(shown), origin))
    return rows
