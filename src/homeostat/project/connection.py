"""The HTTP client of the control plane: what the command line, the Python API and steps speak through.

One connection, kept alive, made anew when the server closed it. Answers are JSON; an error comes back as the
`HomeostatError` that was raised on the other side, with its code, rule and fix.
"""

from __future__ import annotations

import http.client
import json
import select
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from homeostat.foundation.errors import HomeostatError, Kind, entry, from_dict

UNREACHABLE = entry(
    "connection.unreachable",
    Kind.UNAVAILABLE,
    "no control plane answers at {address}: {why}",
    "start one with: homeostat up",
)
BAD_ADDRESS = entry(
    "connection.bad_address", Kind.INVALID, "{address!r} is not an http address", "write it as http://127.0.0.1:8700"
)
NOT_JSON = entry(
    "connection.not_json",
    Kind.FAILED,
    "{address} answered {status} with something that is not JSON: {start!r}",
    "check that the setting 'server' names a Homeostat control plane",
)

_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, http.client.CannotSendRequest)
_ABSOLUTE = ("/health", "/version", "/metrics", "/v2", "/sign-in?")


class Connection:
    """A connection to the control plane at `address` ("http://host:port"). May be used from several threads in turn.

    Paths are below `/api/v1` unless they name something outside it ("/health"). `get`, `post`, `put` and `delete` give
    the decoded answer (None where it is empty) and raise the error that the server sent, or `connection.unreachable`.
    """

    def __init__(self, address: str, token: str = "", project: str = "default", *, timeout: float = 600.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BAD_ADDRESS(field="server", address=address)
        self.address = address.rstrip("/")
        self.token = token
        self.project = project
        self.timeout = timeout
        self._parts = parts
        self._lock = threading.Lock()
        self._open: http.client.HTTPConnection | None = None

    def get(self, path: str, **query: Any) -> Any:
        """GET: reading only, so a connection that went stale is tried once more."""
        return self._call("GET", _with(path, query), None)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """POST `body` as JSON. `key` is sent as Idempotency-Key, so that the same act asked twice is done once."""
        return self._call("POST", path, body, {"Idempotency-Key": key} if key else {})

    def put(self, path: str, body: Any = None) -> Any:
        """PUT `body`: bytes are sent as they are, anything else as JSON."""
        return self._call("PUT", path, body)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self._call("DELETE", path, None)

    def put_object(self, data: bytes) -> str:
        """Store bytes in the object store; gives their digest."""
        return str(self.put("/objects", data)["digest"])

    def get_bytes(self, path: str) -> bytes:
        """GET an answer that is not JSON, whole."""
        with self._lock:
            return self._exchange("GET", path, None, {})[1]

    def stream(self, path: str, **query: Any) -> Iterator[bytes]:
        """GET an answer in chunks, on a connection of its own (large downloads, live events)."""
        connection = self._connect()
        try:
            connection.request("GET", self._url(_with(path, query)), headers=self._headers(None))
            response = connection.getresponse()
            if response.status >= 400:
                raise self._error(response.status, response.read())
            while chunk := response.read1(1 << 16):
                yield chunk
        except OSError as why:
            raise UNREACHABLE(field="server", address=self.address, why=why) from None
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        if getattr(self, "_open", None) is not None:
            self._drop()

    def _call(self, method: str, path: str, body: Any, extra: dict[str, str] | None = None) -> Any:
        with self._lock:
            status, data = self._exchange(method, path, body, extra or {})
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError:
            raise NOT_JSON(
                field="server", address=self.address, status=status, start=data[:60].decode("latin1")
            ) from None

    def _exchange(self, method: str, path: str, body: Any, extra: dict[str, str]) -> tuple[int, bytes]:
        raw = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        headers = self._headers(body) | extra
        for attempt in (1, 2):
            self._drop_if_closed()
            reused = self._open is not None
            try:
                self._open = self._open or self._connect()
                self._open.request(method, self._url(path), body=raw, headers=headers)
                response = self._open.getresponse()
                data = response.read()
                break
            except _STALE as why:
                # The server may close an idle connection. It had not read this request, or it reads only: ask again.
                self._drop()
                if (
                    not reused
                    or attempt == 2
                    or not (method == "GET" or isinstance(why, http.client.CannotSendRequest))
                ):
                    raise UNREACHABLE(field="server", address=self.address, why=why) from None
            except (OSError, http.client.HTTPException) as why:
                self._drop()
                raise UNREACHABLE(field="server", address=self.address, why=why) from None
            except BaseException:
                self._drop()  # interrupted half-way: what is left on the wire belongs to nobody
                raise
        if response.will_close:
            self._drop()
        if response.status >= 400:
            raise self._error(response.status, data)
        return response.status, data

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=self.timeout)

    def _drop_if_closed(self) -> None:
        """Let go of a kept connection that the server has closed since: nothing else is to be read between calls."""
        sock = self._open.sock if self._open is not None else None
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _url(self, path: str) -> str:
        below = path if path.startswith(("/api/", *_ABSOLUTE)) else f"/api/v1{path}"
        return self._parts.path.rstrip("/") + below

    def _headers(self, body: Any) -> dict[str, str]:
        headers = {"Homeostat-Project": self.project, "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        return headers

    def _error(self, status: int, data: bytes) -> HomeostatError:
        try:
            said = json.loads(data)
        except ValueError:
            said = None
        told = said.get("error", f"{self.address} answered {status}") if isinstance(said, dict) else None
        if isinstance(told, dict):
            return from_dict(told, status)
        if isinstance(told, str):  # the inference protocol says {"error": "words"}
            return from_dict({"code": "remote.error", "message": told}, status)
        start = data[:60].decode("latin1")
        return NOT_JSON(field="server", address=self.address, status=status, start=start)


def _with(path: str, query: dict[str, Any]) -> str:
    given = {k: v for k, v in query.items() if v is not None}
    if not given:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(given)}"
