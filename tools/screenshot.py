"""Take the picture of the README from the page of a running platform.

Usage: python tools/screenshot.py [--light] [--phone] http://127.0.0.1:8050 docs/dashboard.png
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

_DESKTOP: dict[str, Any] = {"viewport": {"width": 1400, "height": 900}}
_PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 800},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
_WHOLE = """() => window.gexTimings && gexTimings.updates.length > 1
  && gex.day.state.stored > 0 && document.documentElement.dataset.fresh === 'yes'"""
_LONGEST_MS = 120_000
_STEP_MS = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the page is")
    parser.add_argument("target", type=Path, help="the PNG to write")
    parser.add_argument("--light", action="store_true", help="light instead of dark")
    parser.add_argument("--phone", action="store_true", help="a phone's width, the whole page")
    given = parser.parse_args()
    with sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        scheme: Any = "light" if given.light else "dark"
        options = _PHONE if given.phone else _DESKTOP
        page = browser.new_page(color_scheme=scheme, **options)
        page.goto(given.url)
        wait_until_whole(page)
        page.screenshot(path=given.target, full_page=given.phone)
        browser.close()


def wait_until_whole(page: Page) -> None:
    """Wait until charts are drawn, the day is there and the level is fresh.

    :raises SystemExit: when that takes too long.
    """
    for _ in range(_LONGEST_MS // _STEP_MS):
        page.wait_for_timeout(_STEP_MS)
        if page.evaluate(_WHOLE):
            return
    raise SystemExit("the page does not come to rest: is a level published?")


if __name__ == "__main__":
    main()
