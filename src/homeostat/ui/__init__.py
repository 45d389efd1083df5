"""The screens: pages rendered on the server from the same domain functions the API calls; they decide nothing.

A page opens with a sentence that says how things are, then shows why. It reads well without JavaScript; with it, htmx
fetches the page again when something was committed and morphs what changed into place, and uPlot draws the charts from
the tables beside them. Nothing is loaded from elsewhere: htmx and uPlot are vendored under `static/vendor`, pinned by
`manifest.json`, and a strict Content-Security-Policy lets a page run nothing else.

One file for each thing that has a screen (`endpoints`, `runs`, ...), each with its route handlers; beside them:

- `views`: what a handler is given (`View`): who looks, at which project, and how to render a page;
- `snapshot`, `health`, `organs`, `sentences`: what the project looks like now, and how to say it;
- `formats`, `charts`: numbers, times and drawings; `assets`: the files a page loads; `changes`: the live stream.

Public surface: `screens.handlers(home)` and `screens.error_page`, which `api.application.create` takes.
"""
