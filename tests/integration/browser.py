"""A real Chromium for tests of the page, and what it complains about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness import wait_until
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser, headless; without one the tests fail."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.fail("the tests of the page need Chromium; run tools/prepare-tests")
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def complaints(page: Page) -> list[str]:
    """A list that fills with errors of the console, of scripts and of requests."""
    found: list[str] = []
    page.on("console", lambda m: found.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(f"script: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))
    page.on("response", lambda r: found.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    return found


def until(page: Page, script: str, *, seconds: float = 30, what: str = "") -> Any:
    """Ask the page until the answer is true. Its policy forbids the browser's own waiting."""

    def ask() -> Any:
        page.wait_for_timeout(50)  # playwright's events are handled only inside its calls
        return page.evaluate(script)

    return wait_until(ask, seconds=seconds, what=what or script)


def text(page: Page, selector: str) -> str:
    """What an element says."""
    return (page.text_content(selector) or "").strip()


def state_is(page: Page, wanted: str) -> Callable[[], bool]:
    """Whether the banner shows a state."""

    def ask() -> bool:
        page.wait_for_timeout(100)
        return text(page, "#state") == wanted

    return ask
