"""How an endpoint is, in a word, and how all of them are, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from homeostat.ui import charts, formats
from homeostat.ui.charts import Point
from homeostat.ui.snapshot import Snapshot, narrow

Tone = Literal["ok", "run", "bad", "ask", "idle"]
UNDER_WAY = ("gating", "waiting", "rolling_out", "baking")


class Health(Struct, frozen=True, kw_only=True):
    """One endpoint now. `tone` picks shape and colour, `word` says it; `why` is the sentence behind it."""

    endpoint: str
    tone: Tone
    word: str
    why: str = ""
    why_at: int | None = None
    why_state: str = ""
    href: str = ""
    reading: Point | None = None
    metric: str | None = None


# Worst first: the order of the table on the home page.
RANK: dict[str, int] = {"bad": 0, "ask": 1, "run": 2, "idle": 3, "ok": 4}
_SAID = {  # word -> how a sentence says it of one endpoint, and of several
    "Healthy": ("is healthy", "are healthy"),
    "Adapting": ("is adapting", "are adapting"),
    "Rolling out": ("is rolling out", "are rolling out"),
    "Waiting for you": ("waits for you", "wait for you"),
    "Unwell": ("is not well", "are not well"),
    "Outside its band": ("is outside its healthy band", "are outside their healthy bands"),
    "Paused": ("is paused", "are paused"),
    "Answering": ("answers, its quality not known yet", "answer, their quality not known yet"),
    "Nothing deployed": ("has nothing deployed", "have nothing deployed"),
}


def of(whole: Snapshot, name: str) -> Health:
    """How the endpoint `name` is."""
    seen = narrow(whole, name)
    points = charts.quality(charts.answering(seen.windows[name]))
    champion = seen.endpoints[0].arm("champion")
    # A reading tells of the version that it was taken of: of one that has just taken over nothing is known yet.
    reading = points[-1] if points and champion is not None and points[-1].version == champion.version else None
    metric = next((w.metric.name for w in reversed(seen.windows[name]) if w.metric is not None), None)
    tone, word = _tone(seen, reading)
    why, why_at, href, why_state = _why(seen)
    return Health(
        endpoint=name,
        tone=tone,
        word=word,
        why=why,
        why_at=why_at,
        why_state=why_state,
        href=href,
        reading=reading,
        metric=metric,
    )


def _tone(seen: Snapshot, reading: Point | None) -> tuple[Tone, str]:
    endpoint = seen.endpoints[0]
    if seen.approvals:
        return "ask", "Waiting for you"
    if endpoint.paused:
        return "idle", "Paused"
    moving = any(d.state in ("gating", "rolling_out") for d in seen.deployments)
    if seen.incidents:
        acted = moving or any(i.state == "acting" for i in seen.incidents)
        harm = any(i.cause in ("performance", "errors", "latency") for i in seen.incidents)
        if acted or harm:
            return ("run", "Adapting") if acted else ("bad", "Unwell")
    if moving:
        return "run", "Rolling out"
    if endpoint.arm("champion") is None:
        return "idle", "Nothing deployed"
    if reading is None:
        return "ok", "Answering"
    return ("bad", "Outside its band") if charts.within(reading) is False else ("ok", "Healthy")


def _why(seen: Snapshot) -> tuple[str, int | None, str, str]:
    """The sentence behind the state, since when, where to read on and what came of it: a question that waits, else
    the newest decision, else a deployment on its way."""
    if seen.approvals:
        asked = seen.approvals[0]
        return asked.question, asked.asked_at, "/approvals", "asked"
    moving = next((d for d in seen.deployments if d.state in UNDER_WAY), None)
    newest = seen.decisions[0] if seen.decisions else None
    if moving is not None and (newest is None or newest.state in ("acting", "approved")):
        words = f"Version {moving.version}: {moving.summary or moving.state.replace('_', ' ')}"
        at = moving.since_recorded or moving.requested_at
        return words, at, f"/deployments/{moving.id}", moving.state.replace("_", " ")
    if newest is not None:
        return newest.summary, newest.at, f"/decisions/{newest.id}", newest.state
    return "Nothing was decided yet.", None, "", ""


def sentence(found: Sequence[Health]) -> str:
    """ "Two endpoints are healthy, one is adapting, one waits for you." """
    counts: dict[str, int] = {}
    for one in sorted(found, key=lambda h: (-RANK[h.tone], h.word)):
        counts[one.word] = counts.get(one.word, 0) + 1
    parts: list[str] = []
    for word, count in counts.items():
        single, many = _SAID[word]
        noun = "" if parts else " endpoint" if count == 1 else " endpoints"
        parts.append(f"{formats.spelled(count)}{noun} {single if count == 1 else many}")
    text = ", ".join(parts) + "."
    return text[0].upper() + text[1:]


def of_one(health: Health) -> str:
    """The sentence that an endpoint's page opens with."""
    said = f"{health.endpoint} {_SAID[health.word][0]}"
    reading = health.reading
    if reading is None or reading.value is None:
        return said + "."
    said += f": {formats.words(health.metric)} {formats.reading(reading.value)}"
    if reading.low is not None and reading.high is not None:
        where = "inside" if charts.within(reading) else "outside"
        said += f", {where} its band of {formats.reading(reading.low)} to {formats.reading(reading.high)}"
    return said + "."


def ranked(found: Iterable[Health]) -> list[Health]:
    """The worst first."""
    return sorted(found, key=lambda h: (RANK[h.tone], h.endpoint))
