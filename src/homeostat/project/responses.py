"""What the loop may do by itself when a model is not as it should be, as a project file says it.

Each gives a `control.records.Policy` without its endpoint, which `hs.model` fills in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from homeostat.control.records import Mode, Policy
from homeostat.foundation.clock import parse_duration
from homeostat.foundation.errors import Kind, entry

BAD_RESPONSE = entry(
    "project.bad_response", Kind.INVALID, "{argument} must be {rule}, not {value!r}", "write it as {example}"
)

ACTIONS = ("retrain", "roll_back", "reuse")
LearnFrom = Literal["all", "since_change", "best"]


def automatic(
    *,
    ask: Sequence[str] = (),
    learn_from: LearnFrom = "best",
    min_positives: int = 150,
    min_rows: int = 500,
    cooldown: str | int = "3d",
    window: str | int = "1d",
) -> Policy:
    """Act, and tell. The actions named in `ask` ("retrain", "roll_back", "reuse") still wait for a person.

    A retrain waits for `min_rows` labelled rows and `min_positives` positives after the change, and for `cooldown`
    since the last one. `learn_from` 'best' trains on all rows and on those since the change and keeps the better one on
    the newest rows. `window` is the season that one monitoring window spans.
    """
    return _policy("automatic", ask, learn_from, min_positives, min_rows, cooldown, window)


def ask(
    *,
    learn_from: LearnFrom = "best",
    min_positives: int = 150,
    min_rows: int = 500,
    cooldown: str | int = "3d",
    window: str | int = "1d",
) -> Policy:
    """Every action waits until a person approves it."""
    return _policy("ask", (), learn_from, min_positives, min_rows, cooldown, window)


def observe(
    *,
    learn_from: LearnFrom = "best",
    min_positives: int = 150,
    min_rows: int = 500,
    cooldown: str | int = "3d",
    window: str | int = "1d",
) -> Policy:
    """Only suggest: decisions are written down and nothing is done. The mode of a team's first week."""
    return _policy("observe", (), learn_from, min_positives, min_rows, cooldown, window)


def _policy(
    mode: Mode,
    asked: Sequence[str],
    learn_from: LearnFrom,
    min_positives: int,
    min_rows: int,
    cooldown: str | int,
    window: str | int,
) -> Policy:
    if isinstance(asked, str) or any(a not in ACTIONS for a in asked):
        raise BAD_RESPONSE(
            field="ask", argument="ask", rule=f"a list of actions among {', '.join(ACTIONS)}", value=asked,
            example="hs.automatic(ask=['retrain'])",
        )  # fmt: skip
    if learn_from not in ("all", "since_change", "best"):
        raise BAD_RESPONSE(
            field="learn_from", argument="learn_from", rule="'all', 'since_change' or 'best'", value=learn_from,
            example="hs.automatic(learn_from='best')",
        )  # fmt: skip
    for field, number in (("min_positives", min_positives), ("min_rows", min_rows)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise BAD_RESPONSE(
                field=field,
                argument=field,
                rule="a whole number above 0",
                value=number,
                example=f"hs.automatic({field}=150)",
            )
    span = parse_duration(window, field="window")
    if span <= 0:
        raise BAD_RESPONSE(
            field="window",
            argument="window",
            rule="longer than nothing",
            value=window,
            example="hs.automatic(window='1d')",
        )
    return Policy(
        endpoint="",
        mode=mode,
        ask=tuple(asked),
        learn_from=learn_from,
        min_positives=min_positives,
        min_rows=min_rows,
        cooldown=parse_duration(cooldown, field="cooldown"),
        window=span,
    )
