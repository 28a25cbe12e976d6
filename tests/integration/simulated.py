"""Running a real simulator for tests, and reading its streams as a client does."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from harness import GEX, environment, state_folder, wait_until

FORM = {
    "grant_type": "refresh_token",
    "client_id": "simulator",
    "client_secret": "simulator",
    "refresh_token": "simulator",
}
CLOCK_HEADER = "X-Market-Clock"
Json = dict[str, Any]


@dataclass
class Simulator:
    """A running `gex simulator`."""

    process: subprocess.Popen[bytes]
    output: Path
    client: httpx.Client
    headers: dict[str, str] = field(default_factory=dict)

    def log_in(self, **changes: str) -> httpx.Response:
        """Ask for an access token and use it from now on."""
        response = self.client.post("/oauth/token", data={**FORM, **changes})
        if response.status_code == 200:
            self.headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
        return response

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask for market data."""
        return self.client.get(f"/v3/marketdata/{path}", params=parameters, headers=self.headers)

    def state(self) -> Json:
        """What it does."""
        found: Json = self.client.get("/_simulator/state").json()
        return found

    def truth(self, symbol: str = "SPY") -> Json:
        """What is true."""
        found: Json = self.client.get(f"/_simulator/truth/{symbol}").json()
        return found

    def let(self, fault: str, **arguments: Any) -> Json:
        """Let a fault happen; its record."""
        reply = self.client.post(f"/_simulator/{fault}", params=arguments)
        assert reply.status_code == 200, reply.text
        found: Json = reply.json()
        return found

    def over(self, number: int, *, seconds: float = 60) -> Json:
        """The record of a fault, once it is over."""

        def ask() -> Json | None:
            found = next(each for each in self.state()["faults"] if each["number"] == number)
            return found if found["ended_at"] else None

        return wait_until(ask, seconds=seconds, what=f"the end of fault {number}")

    def wait_for(self, ready: Callable[[Json], bool], *, seconds: float, what: str) -> Json:
        """Its state, once it is so."""

        def ask() -> Json | None:
            found = self.state()
            return found if ready(found) else None

        return wait_until(ask, seconds=seconds, what=what)

    @contextmanager
    def stream(self, path: str, **parameters: Any) -> Iterator[Stream]:
        """An open stream."""
        with self.client.stream(
            "GET", f"/v3/marketdata/stream/{path}", params=parameters, headers=self.headers
        ) as response:
            yield Stream(response)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


class Stream:
    """The objects of a stream, put together whatever the borders of its chunks."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks = response.iter_raw()
        self.rest = b""
        """What came after the last newline."""
        self._lines: deque[bytes] = deque()
        self.torn = 0
        """How many chunks have ended inside an object."""
        self.rows: dict[str, Json] = {}
        """Chain rows by symbol, the newest of each."""
        self.quotes: dict[str, Json] = {}
        """Quotes by symbol, merged."""

    def objects(self) -> Iterator[Json]:
        """Every object from here on, until the stream ends."""
        while True:
            while self._lines:
                yield self._taken(json.loads(self._lines.popleft()))
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            self._lines.extend(lines)
            self.torn += bool(self.rest)

    def take(self, count: int) -> list[Json]:
        """The next objects."""
        found = []
        for each in self.objects():
            found.append(each)
            if len(found) == count:
                return found
        raise AssertionError(f"the stream ended after {len(found)} objects: {found[-3:]}")

    def until(self, ready: Callable[[Json], bool]) -> list[Json]:
        """The objects up to the first for which it is so."""
        found = []
        for each in self.objects():
            found.append(each)
            if ready(each):
                return found
        raise AssertionError(f"the stream ended: {found[-3:]}")

    def _taken(self, each: Json) -> Json:
        if "Legs" in each:
            self.rows[each["Legs"][0]["Symbol"]] = each
        elif "Symbol" in each:
            self.quotes.setdefault(each["Symbol"], {}).update(each)
        return each


@contextmanager
def simulator(*options: str, state: Path | None = None) -> Iterator[Simulator]:
    """`gex simulator` on a free port, logged in; nothing of it is left running."""
    folder = state or state_folder()
    output = folder / f"simulator-{time.monotonic_ns()}.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [GEX, "simulator", "--port", "0", *options],
            env=environment(folder),
            stdout=file,
            stderr=file,
            cwd=folder,
        )

    def url() -> str | None:
        text = output.read_text(encoding="utf-8")
        assert process.poll() is None, text
        return next((w for w in text.split() if w.startswith("http://")), None)

    try:
        with httpx.Client(base_url=wait_until(url, seconds=60, what="its address")) as client:
            client.timeout = httpx.Timeout(30)
            running = Simulator(process, output, client)
            running.log_in()
            yield running
    finally:
        process.kill()
        process.wait(30)
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)


def login(served: Simulator) -> dict[str, str]:
    """The settings that make a simulator the broker: nothing but addresses and a key."""
    url = str(served.client.base_url).rstrip("/")
    return {
        "feed": "tradestation",
        "tradestation_api_url": f"{url}/v3",
        "tradestation_signin_url": url,
        "tradestation_client_id": "simulator",
        "tradestation_client_secret": "simulator",
        "tradestation_refresh_token": "simulator",
    }
