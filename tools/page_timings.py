"""Measure the page of a running platform in a real browser, and print it as JSON.

Usage: python tools/page_timings.py [--loads 5] [--seconds 30] [--pid PID] http://127.0.0.1:8050

``--pid`` is the page's server (``gex status``): its memory, and its processor time with and
without a browser, are measured too. Busy machines measure badly: look at ``load``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

_DRAWN = "() => window.gexTimings !== undefined && window.gexTimings.charts !== null"
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
_METRICS = {"TaskDuration": "main_thread_cpu_ms", "LayoutDuration": "layout_cpu_ms"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pid", type=int)
    given = parser.parse_args()
    server = psutil.Process(given.pid) if given.pid else None
    found: dict[str, Any] = {"load": os.getloadavg()}
    if server:
        found["server_idle"] = _server(server, given.seconds, time.sleep)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        found["loads"] = [_load(browser, given.url) for _ in range(given.loads)]
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(given.url)
        _until_drawn(page)
        page.wait_for_timeout(3000)  # what only the first update does is no part of it
        found["updates"] = _updates(page, given.seconds)
        if server:
            wait = page.wait_for_timeout
            found["server_with_a_browser"] = _server(
                server, given.seconds, lambda seconds: wait(1000 * seconds)
            )
        browser.close()
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _load(browser: Browser, url: str) -> dict[str, float]:
    """A first visit: what is cached comes from this window alone."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(url)
    _until_drawn(page)
    timings = page.evaluate("() => ({...gexTimings, updates: undefined})")
    found = {"first_contentful_paint_ms": page.evaluate(_PAINT)}
    context.close()
    return {
        **{name: round(value) for name, value in found.items()},
        "numbers_ms": round(timings["numbers"]),
        "charts_ms": round(timings["charts"]),
    }


def _until_drawn(page: Page) -> None:
    while not page.evaluate(_DRAWN):
        page.wait_for_timeout(50)


def _updates(page: Page, seconds: float) -> dict[str, Any]:
    """From an answer of the server to its last chart, and the processor time it takes."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def metrics() -> dict[str, float]:
        rows = session.send("Performance.getMetrics")["metrics"]
        return {row["name"]: row["value"] for row in rows}

    skipped, before = len(page.evaluate("() => gexTimings.updates")), metrics()
    page.wait_for_timeout(1000 * seconds)
    after, times = metrics(), page.evaluate("() => gexTimings.updates")[skipped:]
    return {
        "count": len(times),
        "median_ms": round(statistics.median(times), 1),
        "p90_ms": round(statistics.quantiles(times, n=10)[-1], 1),
        **{
            label: round(1000 * (after[name] - before[name]) / len(times), 1)
            for name, label in _METRICS.items()
        },
        "heap_mb": round(after["JSHeapUsedSize"] / 1e6, 1),
    }


def _server(server: psutil.Process, seconds: float, wait: Any) -> dict[str, float]:
    before = server.cpu_times()
    wait(seconds)
    after = server.cpu_times()
    used = after.user + after.system - before.user - before.system
    return {
        "cpu_percent": round(100 * used / seconds, 2),
        "rss_mb": round(server.memory_info().rss / 1e6, 1),
    }


if __name__ == "__main__":
    main()
