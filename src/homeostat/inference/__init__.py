"""The inference process: Open Inference Protocol v2, from bytes in to bytes out, alone.

It imports only this folder, `packages` and the lightest of `foundation`; it never opens the database and never calls
control. It follows a plan (`wire.Plan`), checks tokens by the digests in it, and writes each prediction to a segment
before the answer leaves. Public surface: `wire` (what it shares with control), `handler` (the protocol, sans I/O),
`server` and `asgi` (its two adapters), `runtimes`, `segments`, `routes`; `python -m homeostat.inference` runs it.
"""
