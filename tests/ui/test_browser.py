"""Screens in a real browser: nothing is blocked, charts are drawn, what changes comes in without moving the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import CHROMIUM, DRIVER, Browser, chromium

from homeostat.serving import endpoints

if TYPE_CHECKING:
    from conftest import Site

pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver")

AXE = os.environ.get("HOMEOSTAT_AXE")  # where axe.min.js of the npm package axe-core lies


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


def sign_in(browser: Browser, site: Site) -> None:
    """Give the browser the session of an administrator."""
    name, _, value = site.sign_in("admin").partition("=")
    browser.open(site.address + "/version")
    browser.cdp("Network.setCookie", name=name, value=value, url=site.address, httpOnly=True)
    browser.said()  # it asked for a favicon there


def test_pages_break_no_rule_of_theirs_and_fit_a_phone(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    for width in (390, 1280):
        browser.look(width=width)
        for name, path in site.pages().items():
            browser.open(site.address + path)
            wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (name, width, wide)
            assert browser.said() == [], (name, width)


def test_charts_are_drawn_from_their_tables(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    browser.look(width=1280)
    browser.open(site.address + "/endpoints/fraud")
    assert browser.until("return document.querySelectorAll('figure .uplot canvas').length === 3")
    assert browser.run("return document.querySelectorAll('figure svg.drawing').length") == 0
    legend = browser.run("return document.querySelector('.u-legend').innerText")
    last = browser.run("return [...document.querySelectorAll('#quality-table tbody tr')].pop().dataset.y")
    assert f"{float(last):.3f}"[:4] in legend


def test_a_change_comes_in_without_jumping(browser: Browser, own_site: Site) -> None:
    sign_in(browser, own_site)
    browser.look(width=1280, height=500)
    browser.open(own_site.address + "/endpoints/fraud")
    browser.until("return document.getElementById('live').textContent === 'Live'")
    browser.run(
        "document.querySelector('.act').open = true; const box = document.querySelector('.act textarea');"
        "box.focus({preventScroll: true}); box.value = 'half a reason'; box.dataset.mine = 'yes';"
        "document.querySelectorAll('details.twin')[0].open = true; scrollTo(0, 400)"
    )
    with own_site.home.database.write(actor="person:ada") as tx:
        endpoints.pause(tx, "demand", True, "elsewhere")
        endpoints.pause(tx, "fraud", True, "seen by all")
    browser.until(
        "return document.querySelector('h1').textContent.includes('fraud waits') ||"
        " document.querySelector('h1').textContent.includes('fraud is paused')"
    )
    kept = browser.run(
        "const box = document.querySelector('.act textarea');"
        "return [scrollY, document.querySelector('.act').open, box.value,"
        " document.activeElement === box, document.querySelectorAll('details.twin')[0].open,"
        " document.querySelectorAll('figure .uplot').length]"
    )
    assert kept == [400, True, "half a reason", True, True, 3]


def test_pages_read_without_scripts(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    browser.look(width=1280)
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(site.address + "/endpoints/fraud")
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)
    found = browser.run(
        "return [document.querySelectorAll('figure svg.drawing polyline').length,"
        " document.querySelectorAll('.uplot').length, document.querySelector('h1').textContent]"
    )
    assert found[:2] == [3, 0] and found[2].startswith("fraud is adapting")


def test_the_keyboard_reaches_the_content_first(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    browser.look(width=1280)
    browser.open(site.address + "/")
    tab = {
        "type": "key",
        "id": "keys",
        "actions": [{"type": "keyDown", "value": "\ue004"}, {"type": "keyUp", "value": "\ue004"}],
    }
    enter = {
        "type": "key",
        "id": "keys",
        "actions": [{"type": "keyDown", "value": "\ue007"}, {"type": "keyUp", "value": "\ue007"}],
    }
    browser.ask("POST", "/actions", {"actions": [tab]})
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"
    browser.ask("POST", "/actions", {"actions": [enter]})
    assert browser.run("return document.activeElement.id") == "main"
    browser.ask("POST", "/actions", {"actions": [tab]})
    assert browser.run("return document.activeElement.querySelector('b').textContent") == "Data"


@pytest.mark.skipif(AXE is None, reason="set HOMEOSTAT_AXE to axe.min.js of the npm package axe-core")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(browser: Browser, site: Site, dark: bool) -> None:
    sign_in(browser, site)
    assert AXE is not None
    engine = Path(AXE).read_text()
    for width in (1280, 390):
        browser.look(width=width, dark=dark)
        for name, path in {**site.pages(), "missing": "/nothing"}.items():
            browser.open(site.address + path)
            browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            browser.run(engine)
            found = browser.run(
                "return axe.run().then((r) => r.violations.map((v) => [v.id, v.help, v.nodes.length,"
                " v.nodes[0].html.slice(0, 160), v.nodes[0].failureSummary]))"
            )
            assert found == [], (name, width, found)
