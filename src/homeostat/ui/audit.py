"""The audit stream: every event by cursor, and whether every seal holds."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.params import FromQuery, QueryParameter

from homeostat.foundation import events
from homeostat.foundation.events import Verification
from homeostat.ui.views import Viewing, screen

_PAGE = 100


@screen("/audit")
def listing(
    view: Viewing,
    since: Annotated[str | None, QueryParameter(name="after")] = None,
    kind: FromQuery[str | None] = None,
    subject: FromQuery[str | None] = None,
    verify: FromQuery[bool] = False,
) -> Response[bytes]:
    """Events: the newest, or a page of what follows a sequence number, in order."""
    kinds = (kind,) if kind else None
    after = int(since) if since is not None and since.isdecimal() and len(since) <= 18 else None
    proof: Verification | None = None
    with view.read() as reader:
        found = events.read_after(
            reader, after or 0, limit=_PAGE, kinds=kinds, subject=subject or None, newest_first=after is None
        )
        if verify:
            proof = events.verify(reader)
    return view.page(
        "audit.html",
        "Audit",
        events=found,
        after=after,
        kind=kind or None,
        subject=subject or None,
        kinds=sorted(events.kinds()),
        proof=proof,
        full=len(found) == _PAGE,
    )


ROUTES = [listing]
