"""Buttons: each calls what the API calls, with a reason, for who may, from a page of this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeostat.foundation import events
from homeostat.governance import approvals, decisions
from homeostat.monitoring import incidents
from homeostat.serving import endpoints

if TYPE_CHECKING:
    from conftest import Site


def newest_event(site: Site) -> events.Recorded:
    with site.home.database.read() as reader:
        return events.read_after(reader, newest_first=True, limit=1)[0]


def test_pause_and_resume_with_a_reason(own_site: Site) -> None:
    answer = own_site.ask("/endpoints/demand/pause", form={"reason": "audit week"}, role="operator")
    assert (answer.status, answer.headers["location"]) == (303, "/endpoints/demand")
    event = newest_event(own_site)
    told = (event.kind, event.actor, event.reason)
    assert told == ("serving.endpoint_paused", "person:operator", "audit week")
    page = own_site.ask("/endpoints/demand", role="operator")
    assert page.title.startswith("demand is paused") and "/endpoints/demand/resume" in page.text
    own_site.ask("/endpoints/demand/resume", form={"reason": "it is over"}, role="operator")
    with own_site.home.database.read() as reader:
        assert not endpoints.get(reader, "demand").paused


def test_an_approval_is_answered_once_with_a_reason(own_site: Site) -> None:
    path = f"/approvals/{own_site.ids['approval']}/answer"
    own_site.sign_in("approver")
    before = newest_event(own_site).seq
    silent = own_site.ask(path, form={"answer": "approve", "reason": " "}, role="approver")
    assert silent.status == 400 and "why" in silent.text and newest_event(own_site).seq == before
    answer = own_site.ask(path, form={"answer": "reject", "reason": "winter is over"}, role="approver")
    assert (answer.status, answer.headers["location"]) == (303, "/approvals")
    with own_site.home.database.read() as reader:
        asked = next(a for a in approvals.listing(reader) if a.id == own_site.ids["approval"])
        assert (asked.state, asked.answered_by, asked.reason) == ("rejected", "person:approver", "winter is over")
        assert decisions.get(reader, asked.decision_id).state == "rejected"
    page = own_site.ask("/approvals", role="approver")
    assert page.title == "Nothing waits for you." and "winter is over" in page.text
    again = own_site.ask(path, form={"answer": "approve", "reason": "no, wait"}, role="approver")
    assert again.status == 409 and "That does not fit how things are now." in again.text


def test_an_incident_is_dismissed_with_a_reason(own_site: Site) -> None:
    id = own_site.ids["incident"]
    answer = own_site.ask(f"/incidents/{id}/dismiss", form={"reason": "a holiday"}, role="operator")
    assert (answer.status, answer.headers["location"]) == (303, f"/incidents/{id}")
    with own_site.home.database.read() as reader:
        assert incidents.get(reader, id).state == "dismissed"


def test_a_rollback_that_cannot_be_says_why(own_site: Site) -> None:
    answer = own_site.ask("/endpoints/churn/rollback", form={"reason": "try it"}, role="operator")
    assert answer.status in (404, 409) and "What to do:" in answer.text and "Traceback" not in answer.text


def test_only_who_may_sees_and_sends_a_button(site: Site) -> None:
    before = newest_event(site).seq
    seen = site.ask("/endpoints/fraud", role="viewer").text
    assert "/endpoints/fraud/pause" not in seen and "/rollback" not in seen
    assert "<textarea" not in site.ask("/approvals", role="viewer").text
    assert "/endpoints/fraud/pause" in site.ask("/endpoints/fraud", role="operator").text
    for path in ("/endpoints/fraud/pause", "/endpoints/fraud/resume", "/endpoints/fraud/rollback"):
        answer = site.ask(path, form={"reason": "because"}, role="viewer")
        assert answer.status == 403 and answer.title == "You may not do that.", path
    denied = site.ask(f"/approvals/{site.ids['approval']}/answer", form={"reason": "x"}, role="operator")
    assert denied.status == 403
    after = newest_event(site)
    assert after.seq == before or after.kind.startswith("governance.")  # only the sign-ins of this test


def test_a_form_of_another_site_changes_nothing(site: Site) -> None:
    site.sign_in("operator")
    before = newest_event(site).seq
    for foreign in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
        answer = site.ask("/endpoints/fraud/pause", form={"reason": "x"}, role="operator", headers=foreign)
        assert answer.status == 403, foreign
    assert newest_event(site).seq == before


def test_errors_are_pages_for_browsers_and_json_for_programs(site: Site) -> None:
    stranger = site.ask("/endpoints/fraud")
    assert stranger.status == 401 and stranger.title == "You are not signed in."
    assert "<code>homeostat up</code> prints a link" in stranger.text and "/endpoints" not in stranger.text
    missing = site.ask("/no/such/page", role="viewer")
    assert missing.status == 404 and missing.title == "That is not here."
    unknown = site.ask("/endpoints/nobody", role="viewer")
    assert unknown.status == 404 and "nobody" in unknown.text and 'aria-label="Main"' in unknown.text
    program = site.ask("/endpoints/nobody", role="viewer", headers={"Accept": "application/json"})
    assert program.status == 404 and program.headers["content-type"].startswith("application/json")
    api = site.ask("/api/v1/endpoints/nobody", role="viewer")
    assert api.headers["content-type"].startswith("application/json")


def test_signing_out_ends_the_session(own_site: Site) -> None:
    assert own_site.ask("/", role="viewer").status == 200
    answer = own_site.ask("/leave", form={}, role="viewer")
    assert answer.status == 303 and "homeostat_session" in answer.headers["set-cookie"]
    assert own_site.ask("/", role="viewer").status == 401
