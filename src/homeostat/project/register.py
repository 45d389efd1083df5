"""The three lines that put a model that already exists under the loop.

    m = hs.register(estimator, X, y, name="fraud"); hs.deploy(m); hs.predict(m, X[:1])

`register` packages the estimator in the caller's own process and sends the package to the server; `deploy` asks its
gate and waits for the verdict; `predict` asks the endpoint as any caller would. Results print what to do with them.
"""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.foundation.settings import load as load_settings
from homeostat.project.connection import Connection
from homeostat.project.locate import open_connection
from homeostat.project.predictions import ask, inference_of
from homeostat.project.results import Deployed, Predictions, Registered

GATE_REFUSED = entry(
    "project.gate_refused",
    Kind.REFUSED,
    "the gate of endpoint {endpoint!r} refused {model}@{version}: {evidence}",
    "see the whole evidence: homeostat endpoints show {endpoint}",
)
NOT_ANSWERING = entry(
    "project.not_answering",
    Kind.UNAVAILABLE,
    "endpoint {endpoint!r} did not come up within {seconds:g} s",
    "look at: homeostat endpoints show {endpoint}",
)
NOT_DEPLOYABLE = entry(
    "project.not_deployable",
    Kind.INVALID,
    "{what} is not a registered model",
    "pass what hs.register gave, or 'model@version'",
)

POLL_SECONDS = 0.1
GATE_SECONDS = 300.0
READY_SECONDS = 30.0


class _Session(Struct, frozen=True):
    """How this process speaks to its server."""

    control: Connection
    inference: Connection
    token_file: Path


_sessions: dict[tuple[str, str], _Session] = {}


def register(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    name: str,
    held_out: tuple[Any, Any] | None = None,
    task: Any = None,
    threshold: float = 0.5,
    metric: str | None = None,
    trusted: frozenset[str] = frozenset(),
) -> Registered:
    """Package a fitted estimator with the rows it was fitted on, and register it as the next version of `name`.

    X is a Polars or pandas frame, or a NumPy array (its columns are then x0, x1, ...). `held_out=(X, y)` are rows it
    has not seen: with them its mistakes are known and watched. Raises one-line errors for what cannot be served.
    """
    from homeostat.project.packaging import package_estimator  # it loads numpy and scikit-learn
    from homeostat.project.uploads import upload

    check_name("model", name)
    made = package_estimator(
        estimator, X, y, task=task, threshold=threshold, held_out=held_out, metric=metric, trusted=trusted
    )
    session = _session()
    version = upload(session.control, made, name)
    return Registered(
        model=name,
        version=version["number"],
        package=version["package"],
        format=made.manifest.format,
        missing=tuple(version["missing"]),
        remarks=made.remarks,
        address=session.control.address,
        example=made.example,
    )


def deploy(model: Registered | str, *, endpoint: str | None = None, reason: str | None = None) -> Deployed:
    """Hold a version against the gate of its endpoint and roll it out; returns when the gate has spoken.

    `model` is what `register` gave, or "model@version". Raises `project.gate_refused` with the evidence when the gate
    refuses it; when it has to wait for evidence, the result says so.
    """
    session = _session()
    name, version, example = _which(model, session)
    target = endpoint or name
    body = {"version": version, "model": name, "reason": reason}
    asked = session.control.post(f"/endpoints/{target}/deployments", body)
    settled = _gate(session, str(asked["id"]))
    if settled["state"] in ("refused", "failed", "rolled_back"):
        raise GATE_REFUSED(
            field="gate", endpoint=target, model=name, version=version, evidence=_evidence(session, settled)
        )
    if settled["state"] != "waiting":
        _until_ready(session, target)
    return Deployed(
        endpoint=target,
        model=name,
        version=version,
        state=settled["state"],
        summary=settled.get("summary") or "",
        address=session.control.address,
        curl=_curl(session, target, example),
    )


def predict(model: Registered | Deployed | str, X: Any, *, keys: Any = None) -> Predictions:
    """Ask an endpoint about the rows of X, as any caller would. `keys` are the rows' own keys, for labels to find."""
    from homeostat.packages.columns import Table
    from homeostat.packages.parity import columns_of

    session = _session()
    target = model if isinstance(model, str) else model.endpoint if isinstance(model, Deployed) else model.model
    given = None if keys is None else [k.item() if hasattr(k, "item") else k for k in keys]
    answer = ask(session.inference, target, columns_of(Table(X)), keys=given)
    return Predictions(
        endpoint=target, version=answer["version"], outputs=answer["outputs"], ids=tuple(answer["prediction_ids"])
    )


def _session() -> _Session:
    """The server that the settings name; the connections are kept while it lives."""
    settings = load_settings()
    control = open_connection(settings)
    key = (control.address, control.project)
    if key not in _sessions:
        _sessions[key] = _Session(control, inference_of(control), settings.home / "token")
    return _sessions[key]


def _which(model: Any, session: _Session) -> tuple[str, int, dict[str, list[Any]]]:
    if isinstance(model, Registered):
        return model.model, model.version, model.example
    if not isinstance(model, str):
        raise NOT_DEPLOYABLE(field="model", what=repr(model)[:80])
    name, _, number = model.partition("@")
    if number and not number.isdigit():
        raise NOT_DEPLOYABLE(field="model", what=repr(model))
    version = int(number) if number else int(session.control.get(f"/models/{name}")["newest"])
    return name, version, {}


def _gate(session: _Session, deployment: str) -> dict[str, Any]:
    deadline = time.monotonic() + GATE_SECONDS
    while True:
        seen: dict[str, Any] = session.control.get(f"/deployments/{deployment}")
        if seen["state"] != "gating" or time.monotonic() > deadline:
            return seen
        time.sleep(POLL_SECONDS)


def _evidence(session: _Session, deployment: dict[str, Any]) -> str:
    if not deployment.get("evaluation_id"):
        return str(deployment.get("summary") or deployment["state"])
    evaluation = session.control.get(f"/evaluations/{deployment['evaluation_id']}")
    refused = [c["summary"] for c in evaluation["checks"] if c["verdict"] == "refused"]
    return "; ".join(refused) or str(deployment.get("summary") or deployment["state"])


def _until_ready(session: _Session, endpoint: str) -> None:
    """Wait until the inference plane answers under this name."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            session.inference.get_bytes(f"/v2/models/{endpoint}/ready")
            return
        except HomeostatError:
            if time.monotonic() > deadline:
                raise NOT_ANSWERING(field="endpoint", endpoint=endpoint, seconds=READY_SECONDS) from None
        time.sleep(POLL_SECONDS)


def _curl(session: _Session, endpoint: str, example: dict[str, list[Any]]) -> str:
    """A line that works in the shell of this machine; the token is read from its file, not written into the line."""
    described = session.inference.get(f"/v2/models/{endpoint}")
    inputs = [
        {"name": i["name"], "shape": [1], "datatype": i["datatype"], "data": example.get(i["name"], [None])}
        for i in described["inputs"]
    ]
    body = shlex.quote(json.dumps({"inputs": inputs}))
    who = f'-H "Authorization: Bearer $(cat {shlex.quote(str(session.token_file))})" ' if session.control.token else ""
    where = shlex.quote(f"{session.inference.address}/v2/models/{endpoint}/infer")
    return f"curl -s {where} {who}-H 'Content-Type: application/json' -d {body}"
