"""The browser that the page is tested in."""

import importlib
import os
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
INSTALL = (
    "Install one: pip install 'sk-eqsae[browser]', and chromium from the system's "
    "packages or by python -m playwright install --with-deps chromium."
)


def imported_playwright():
    """The module, or else the tests that need it are left out."""
    try:
        return importlib.import_module("playwright.sync_api")
    except ImportError as error:
        without_browser(str(error), allow_module_level=True)


def without_browser(reason, **options):
    """Leave tests out, but not where NEEDS_BROWSER is set, as in the workflow."""
    if os.environ.get("NEEDS_BROWSER"):
        pytest.fail(f"NEEDS_BROWSER is set, and there is none: {reason}. {INSTALL}")
    pytest.skip(f"no browser: {reason}. {INSTALL}", **options)


def launched(chromium, **options):
    """A started browser, the system's Chromium if there is one."""
    try:
        return chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], **options
        )
    except imported_playwright().Error as error:
        if CHROMIUM is not None:
            raise
        return without_browser(error.message.splitlines()[0])
