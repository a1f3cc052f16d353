"""A headless Chromium, where one is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from waiting import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator:
    """Start it, or skip the test."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, args=list(FLAGS), timeout=PATIENCE * 1000
        )
        yield browser
        browser.close()


def open_page(browser: Any, **options: Any) -> Any:
    """Open a page that waits for what happens on a busy machine, too."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE * 1000)
    return page
