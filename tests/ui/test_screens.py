"""Every screen: it opens with a sentence, links only to what is there, stays small, runs nothing foreign."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from homeostat.serving import endpoints
from homeostat.serving.records import EndpointArm
from homeostat.ui import assets, health, sentences
from homeostat.ui.charts import Mark, Point, spark
from homeostat.ui.health import Health

if TYPE_CHECKING:
    from conftest import Site

UI = Path(assets.__file__).parent
LARGEST = 100_000  # bytes of a first load, with everything the page loads


class Page(HTMLParser):
    """What a test asks about a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.actions: set[str] = set()
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in given:
            self.inline.append("script")
        if tag == "style":
            self.inline.append("style")
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.add(given["href"])
        if tag == "script" or tag == "link":
            self.loads.add(given.get("src") or given["href"])
        if tag == "form":
            self.actions.add(given["action"])


def test_every_page_opens_with_a_sentence_and_has_a_title_of_its_own(site: Site) -> None:
    titles = {}
    for name, path in site.pages().items():
        answer = site.ask(path, role="admin")
        assert answer.status == 200, (name, answer.text[:500])
        assert answer.title[-1] in ".?", (name, answer.title)
        titles[name] = re.search("<title>(.*?)</title>", answer.text)[1]  # type: ignore[index]
    assert len(set(titles.values())) == len(titles), sorted(titles.values())


def test_a_first_load_stays_small(site: Site) -> None:
    sizes = {}
    for name, path in site.pages().items():
        answer = site.ask(path, role="admin")
        loaded = sum(site.ask(address).sent for address in Page(answer.text).loads)
        sizes[name] = answer.sent + loaded
        assert sizes[name] < LARGEST, (name, sizes[name])
    assert max(sizes.values()) > 10_000  # it was measured


def test_pages_run_and_style_nothing_inline(site: Site) -> None:
    for path in [*site.pages().values(), "/nothing"]:
        answer = site.ask(path, role="admin")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        page = Page(answer.text)
        assert not page.inline, (path, page.inline)
        assert len(page.ids) == len(set(page.ids)), path
        assert all(load.startswith("/static/") for load in page.loads)


def test_links_lead_somewhere(site: Site) -> None:
    """Every link of every page, followed once."""
    waiting, seen = list(site.pages().values()), set()
    while waiting:
        path = waiting.pop()
        parts = urlsplit(path)
        key = f"{parts.path}?{parts.query}"
        if key in seen or parts.path == "/audit" or (len(seen) > 150 and parts.query):
            continue
        seen.add(key)
        assert not parts.netloc, path
        answer = site.ask(key.rstrip("?"), role="admin")
        assert answer.status == 200, (path, answer.title)
        page = Page(answer.text)
        assert not parts.fragment or parts.fragment in page.ids, path
        waiting += [link for link in page.links if not link.startswith("#")]
    assert len(seen) > 40


def test_what_users_wrote_is_escaped(site: Site) -> None:
    answer = site.ask("/datasets/transactions?version=5", role="admin")
    assert "-9,999 &lt;b&gt;" in answer.text and "<b>-9" not in answer.text
    assert "<script>" not in site.ask("/runs?experiment=%3Cscript%3E", role="admin").text


def test_rows_of_data_are_for_who_may_read_them(site: Site) -> None:
    assert "-9,999" not in site.ask("/datasets/transactions?version=5", role="viewer").text


def test_an_empty_home_says_what_to_type(empty_site: Site) -> None:
    for path, typed in {
        "/": "homeostat init",
        "/datasets": "homeostat init",
        "/pipelines": "homeostat run",
        "/runs": "homeostat run",
        "/models": "homeostat models register",
        "/endpoints": "homeostat deploy",
        "/incidents": "homeostat status",
        "/approvals": "homeostat status",
        "/decisions": "homeostat decisions list",
    }.items():
        answer = empty_site.ask(path, role="viewer")
        assert answer.status == 200 and typed in answer.text, path
    assert "Nothing is served yet." in empty_site.ask("/", role="viewer").title


def test_the_commands_that_pages_name_are_there() -> None:
    from homeostat.cli.root import COMMANDS

    for template in (UI / "templates").glob("*.html"):
        for named in re.findall(r"homeostat ([a-z-]+)", template.read_text()):
            assert named in COMMANDS, (template.name, named)


def test_another_project_keeps_to_itself(site: Site) -> None:
    answer = site.ask("/endpoints?project=other", role="admin")
    assert "No endpoint answers yet." in answer.title
    inside = {link for link in Page(answer.text).links if link.startswith("/")}
    assert inside and all("project=other" in link for link in inside)


def test_the_loop_has_seven_organs_in_order(site: Site) -> None:
    for path in ("/", "/endpoints/fraud"):
        answer = site.ask(path, role="viewer")
        strip = re.search(r'<ol class="loop".*?</ol>', answer.text, re.DOTALL)
        assert strip is not None
        named = re.findall(r"<b>(\w+)</b>", strip[0])
        assert named == ["Data", "Train", "Gate", "Release", "Serve", "Watch", "Decide"]


def test_vendored_files_are_those_of_the_named_packages() -> None:
    folder = UI / "static" / "vendor"
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {"manifest.json"}
    for package in manifest["packages"]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]) and package["licence"]
        assert any(file["file"].endswith(".LICENSE") for file in package["files"])
        for file in package["files"]:
            body = (folder / file["file"]).read_bytes()
            assert (hashlib.sha256(body).hexdigest(), len(body)) == (file["sha256"], file["bytes"]), file["file"]
            listed.add(file["file"])
    assert {path.name for path in folder.iterdir()} == listed


def test_assets_are_cached_by_their_content(site: Site) -> None:
    address = assets.address("homeostat.css")
    answer = site.ask(address)
    assert answer.status == 200 and "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
    again = site.ask(address, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304 and not again.sent
    assert "immutable" not in site.ask("/static/homeostat.css").headers["cache-control"]
    for path in ("/static/../views.py", "/static/%2e%2e/views.py", "/static/vendor/manifest.json", "/static/nothing"):
        assert site.ask(path).status == 404, path


@pytest.mark.parametrize("name", sorted(sentences._TELL))
def test_every_told_event_is_declared_and_its_sentence_fits_its_fields(name: str) -> None:
    from homeostat.foundation import events

    kinds = events.kinds()
    assert name in kinds
    payload: dict[str, object] = dict.fromkeys(kinds[name].__struct_fields__, "7")
    payload |= {"rows": 7, "added": 7, "reasons": {"a rule": 7}, "result": {}, "resumed": False}
    event = events.Recorded(
        seq=1,
        at=1,
        project="default",
        kind=name,
        subject="endpoint/fraud",
        actor="person:local",
        reason=None,
        decision_id=None,
        payload=payload,
        hash="",
    )
    told = sentences.tell(event)
    assert told is not None and told.href != "/audit" and told.words


def test_a_sentence_counts_endpoints_by_state() -> None:
    def one(tone: health.Tone, word: str) -> Health:
        return Health(endpoint="x", tone=tone, word=word)

    found = [one("ok", "Healthy"), one("ask", "Waiting for you"), one("ok", "Healthy"), one("run", "Adapting")]
    assert health.sentence(found) == "Two endpoints are healthy, one is adapting, one waits for you."
    assert health.sentence([one("idle", "Paused")]) == "One endpoint is paused."


def test_a_reading_is_not_passed_on_to_the_version_that_follows(own_site: Site) -> None:
    assert own_site.ask("/endpoints/demand", role="viewer").title.startswith("demand is healthy")
    with own_site.home.database.write(actor="service:delivery") as tx:
        arm = EndpointArm(name="champion", version=2, share=1.0, since=tx.at)
        endpoints.set_arms(tx, "demand", (arm,))
    answer = own_site.ask("/endpoints/demand", role="viewer")
    assert answer.title == "demand answers, its quality not known yet."


def test_every_word_for_a_state_can_be_said() -> None:
    used = set(re.findall(r'"(?:ok|run|bad|ask|idle)", "([A-Z][\w ]+)"', (UI / "health.py").read_text()))
    assert used == set(health._SAID)


def test_a_drawing_keeps_readings_band_and_marks_together() -> None:
    points = [Point(at, 0.8 - at / 100, 0.7, 0.9) for at in range(0, 30, 10)]
    drawn = spark(points, [Mark(10, "noticed", "an incident"), Mark(99, "done", "too late")], width=100, height=50)
    assert drawn is not None and len(drawn.marks) == 1 and drawn.inside is False
    (band,) = drawn.bands
    xs = [float(pair.split(",")[0]) for pair in drawn.lines[0].split()]
    ys = [float(pair.split(",")[1]) for pair in drawn.lines[0].split()]
    assert xs == sorted(xs) and min(xs) >= 0 and max(xs) <= 100
    assert ys[0] < band.y + band.height <= ys[-1]  # the last lies below the band
    assert spark([]) is None
