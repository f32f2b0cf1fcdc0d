"""Without a browser its tests are left out, and fail where NEEDS_BROWSER is set."""

import sys
from functools import partial

import pytest

from . import browser


class NoChromium:
    """What playwright has where no browser is installed."""

    def __init__(self, error):
        self.error = error

    def launch(self, **_):
        raise self.error("Executable doesn't exist at /x\nmore lines")


@pytest.fixture(params=["playwright", "Chromium"])
def outcome(request, monkeypatch):
    """Function that looks for a browser in vain, and gives what pytest does then."""
    if request.param == "playwright":
        monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
        look = browser.imported_playwright
    else:
        error = pytest.importorskip("playwright.sync_api").Error
        monkeypatch.setattr(browser, "CHROMIUM", None)
        look = partial(browser.launched, NoChromium(error))

    def _outcome():
        with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as found:
            look()
        return found.type, str(found.value)

    return _outcome


def test_who_needs_a_browser_has_to_have_one(monkeypatch, outcome):
    monkeypatch.setenv("NEEDS_BROWSER", "1")
    kind, message = outcome()
    assert kind is pytest.fail.Exception
    assert "python -m playwright install" in message


@pytest.mark.parametrize("needs", [None, ""])
def test_others_may_do_without_a_browser(monkeypatch, outcome, needs):
    monkeypatch.delenv("NEEDS_BROWSER", raising=False)
    if needs is not None:
        monkeypatch.setenv("NEEDS_BROWSER", needs)
    assert outcome()[0] is pytest.skip.Exception
