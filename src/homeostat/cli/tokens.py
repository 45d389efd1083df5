"""`homeostat tokens` and `homeostat sign-in`: who may speak to this server."""

from __future__ import annotations

from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def tokens() -> None:
    """Issue, list and revoke API tokens."""


@tokens.command("list")
@reads
def list_(flags: dict[str, Any], as_json: bool) -> None:
    """Every token: never the secret."""
    output.listing(
        connect(flags).get("/tokens"),
        [
            ("token", lambda t: t["id"]),
            ("label", lambda t: t["label"]),
            ("principal", lambda t: t["principal"]),
            ("endpoints", lambda t: t.get("endpoints") or "all"),
            ("scopes", lambda t: t.get("scopes") or "all its principal's"),
            ("expires", lambda t: output.when(t.get("expires_at"))),
            ("revoked", lambda t: output.when(t.get("revoked_at"))),
        ],
        as_json=as_json,
        empty="no tokens",
    )


@tokens.command()
@click.argument("label")
@click.option("--for", "principal", metavar="PRINCIPAL", help="Whose token, such as service:shop; yours otherwise.")
@click.option(
    "--role", "roles", multiple=True, metavar="ROLE", help="Make the principal, with this role (caller, ...)."
)
@click.option("--scope", "scopes", multiple=True, metavar="PERMISSION", help="Only this permission; may be repeated.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="NAME", help="Only this endpoint; may be repeated.")
@click.option("--expires", metavar="30d", help="For how long; for good otherwise.")
@reads
def issue(
    label: str,
    principal: str | None,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    endpoints: tuple[str, ...],
    expires: str | None,
    flags: dict[str, Any],
    as_json: bool,
) -> None:
    """Issue a token named LABEL. Its secret is printed once, on stdout, and kept nowhere."""
    from homeostat.foundation.clock import parse_duration

    ttl = None if expires is None else parse_duration(expires, field="--expires")
    connection = connect(flags)
    if principal is not None and roles:
        kind = principal.partition(":")[0]
        connection.post("/principals", {"name": principal, "kind": kind, "roles": list(roles)})
    body: dict[str, Any] = {"label": label, "ttl": ttl}
    body |= {"principal": principal} if principal else {}
    body |= {"scopes": list(scopes)} if scopes else {}
    body |= {"endpoints": list(endpoints)} if endpoints else {}
    answer = connection.post("/tokens", body)
    if as_json:
        output.data(answer)
        return
    print(answer["secret"])
    output.talk("this is shown once; keep it where your secrets are")


@tokens.command()
@click.argument("token_id", metavar="ID")
@reads
def revoke(token_id: str, flags: dict[str, Any], as_json: bool) -> None:
    """Revoke a token at once."""
    answer = connect(flags).delete(f"/tokens/{token_id}")
    if as_json:
        output.data(answer)
    else:
        print(f"revoked {token_id}")


@click.command("sign-in")
@reads
def sign_in(flags: dict[str, Any], as_json: bool) -> None:
    """Print a one-time link that signs a browser in. It works once, within ten minutes."""
    connection = connect(flags)
    answer = connection.post("/sign-in-links")
    url = answer.get("url") or f"{connection.address}/sign-in?code={answer['code']}"
    output.data({"url": url}) if as_json else print(url)
