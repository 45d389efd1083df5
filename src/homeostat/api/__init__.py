"""The native HTTP API, `/api/v1`: it translates between HTTP and the domains' functions, and decides nothing.

One file for each resource, each with the handlers of its routes and the bodies they take. Every route declares the
permission it asks for; one guard asks it, and `application.create` refuses to start with a route that declares none.
Answers are the domains' own records as JSON; an error is `{"error": {code, message, field, hint, values}}`.

Public surface:

- `application.create(home)`: the ASGI application over a wired Homeostat;
- `access`: who is calling (`Caller`) and what a route needs (`needs`, `PUBLIC`, `SIGNED_IN`), for the screens too;
- `errors`: the one translation from the error catalogue to HTTP.
"""
