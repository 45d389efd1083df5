"""Signing out: the session ends, and the browser forgets its cookie."""

from __future__ import annotations

from litestar.response import Redirect

from homeostat.governance import sign_in
from homeostat.governance.access import SIGNED_IN
from homeostat.ui.views import Viewing, act


@act("/leave", SIGNED_IN)
def leave(view: Viewing) -> Redirect:
    """End this browser's session."""
    name = sign_in.cookie_name(view.request.headers.get("host", ""))
    with view.caller.write() as tx:
        sign_in.sign_out(tx, view.request.cookies.get(name, ""))
    answer = view.back_to("/")
    answer.delete_cookie(name)
    return answer
