"""Access tokens: granted, refused, expired, rotated."""

from __future__ import annotations

import pytest

from workers.simulator.tokens import Login, TokenRefusedError, Tokens

LOGIN = Login("key", "secret", "refresh")
REFRESH = {
    "grant_type": "refresh_token",
    "client_id": "key",
    "client_secret": "secret",
    "refresh_token": "refresh",
}
CODE = {
    "grant_type": "authorization_code",
    "client_id": "key",
    "client_secret": "secret",
    "code": "anything",
    "redirect_uri": "http://localhost:3000",
}


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    """A clock at 100 s."""
    return FakeClock()


def bearer(tokens: Tokens, form: dict[str, str] = REFRESH) -> str:
    """The header of a new access token."""
    return f"Bearer {tokens.grant(form)['access_token']}"


def test_a_refresh_gives_an_access_token_and_no_refresh_token(clock: FakeClock) -> None:
    reply = Tokens(LOGIN, clock).grant(REFRESH)
    assert set(reply) == {"access_token", "id_token", "scope", "expires_in", "token_type"}
    assert (reply["expires_in"], reply["token_type"]) == (1200, "Bearer")
    assert set(reply["scope"].split()) >= {"MarketData", "OptionSpreads", "offline_access"}


def test_every_access_token_is_another_and_all_are_valid(clock: FakeClock) -> None:
    tokens = Tokens(LOGIN, clock)
    issued = {bearer(tokens) for _ in range(5)}
    assert len(issued) == tokens.issued == 5
    assert all(tokens.is_valid(each) for each in issued)


def test_an_access_token_lives_as_long_as_it_may(clock: FakeClock) -> None:
    tokens = Tokens(LOGIN, clock, ttl_seconds=30.0)
    header = bearer(tokens)
    clock.now += 29.9
    assert tokens.is_valid(header)
    clock.now += 0.1
    assert not tokens.is_valid(header)


def test_all_expire_when_told_to(clock: FakeClock) -> None:
    tokens = Tokens(LOGIN, clock)
    headers = [bearer(tokens), bearer(tokens)]
    assert tokens.expire() == 2
    assert not any(tokens.is_valid(each) for each in headers)
    assert tokens.expire() == 0
    assert tokens.is_valid(bearer(tokens))


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic x y"])
def test_anything_else_is_no_access_token(clock: FakeClock, header: str) -> None:
    tokens = Tokens(LOGIN, clock)
    bearer(tokens)
    assert not tokens.is_valid(header)


def test_the_scheme_is_read_in_any_case(clock: FakeClock) -> None:
    tokens = Tokens(LOGIN, clock)
    assert tokens.is_valid(bearer(tokens).replace("Bearer", "bearer"))


def test_a_code_is_exchanged_whatever_it_is(clock: FakeClock) -> None:
    tokens = Tokens(LOGIN, clock)
    reply = tokens.grant(CODE)
    assert reply["refresh_token"] == "refresh"
    assert tokens.is_valid(f"Bearer {reply['access_token']}")


def test_a_proof_of_the_code_takes_the_place_of_the_secret(clock: FakeClock) -> None:
    form = {**CODE, "code_verifier": "v" * 43}
    del form["client_secret"]
    assert "access_token" in Tokens(LOGIN, clock).grant(form)


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({**REFRESH, "refresh_token": "wrong"}, 403, "invalid_grant"),
        ({**REFRESH, "client_secret": "wrong"}, 401, "access_denied"),
        ({**REFRESH, "client_id": "wrong"}, 401, "access_denied"),
        ({**REFRESH, "client_id": "schlüssel"}, 401, "access_denied"),
        ({**CODE, "client_secret": "wrong"}, 401, "access_denied"),
        ({**REFRESH, "grant_type": "password"}, 403, "unsupported_grant_type"),
        *(({**REFRESH, name: ""}, 400, "invalid_request") for name in REFRESH),
        *(({**CODE, name: ""}, 400, "invalid_request") for name in CODE),
        ({}, 400, "invalid_request"),
    ],
)
def test_a_bad_request_is_refused_in_oauths_words(
    clock: FakeClock, form: dict[str, str], status: int, code: str
) -> None:
    tokens = Tokens(LOGIN, clock)
    with pytest.raises(TokenRefusedError) as caught:
        tokens.grant(form)
    assert caught.value.status == status
    assert caught.value.body()["error"] == code
    assert caught.value.body()["error_description"]
    assert (tokens.issued, tokens.refused) == (0, 1)


def test_rotation_gives_a_new_refresh_token_and_voids_the_old(clock: FakeClock) -> None:
    remembered: list[str] = []
    tokens = Tokens(LOGIN, clock, rotates=True, remember=remembered.append)
    second = tokens.grant(REFRESH)["refresh_token"]
    assert remembered == [second]
    with pytest.raises(TokenRefusedError, match="Unknown or invalid refresh token"):
        tokens.grant(REFRESH)
    third = tokens.grant({**REFRESH, "refresh_token": second})["refresh_token"]
    assert len({"refresh", second, third}) == 3


def test_a_restart_knows_the_rotated_token(clock: FakeClock) -> None:
    again = Tokens(LOGIN, clock, rotates=True, remembered="rotated")
    assert again.grant({**REFRESH, "refresh_token": "rotated"})["refresh_token"] != "rotated"
    without = Tokens(LOGIN, clock, remembered="rotated")
    assert "refresh_token" not in without.grant(REFRESH)
