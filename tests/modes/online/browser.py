"""Headless Chromium, as Debian has it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WAIT_MS = 20_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root.
        is_sandboxed = os.geteuid() != 0
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=is_sandboxed)
        yield browser
        browser.close()


@contextmanager
def new_page(browser: Browser, url: str) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what it complains of: errors, messages on the console, requests to other hosts than `url`."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(url) else complaints.append(f"asks {sent.url}"))
    yield page, complaints
    context.close()
