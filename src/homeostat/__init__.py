"""Homeostat keeps machine-learning models healthy in production.

    import homeostat as hs

`__all__` is the dozen words a project is mostly made of. A few more are found here too, so that a project file needs
one import only: `fresher_than`, `metric_at_most`, `p99_under`, `shadow`, `direct`, `ask`, `observe`, `log_metric`,
`log_param`, `connect`. Every one is loaded when it is first asked for: `import homeostat` by itself loads nothing else.
`__init__.pyi` tells type checkers and editors where each comes from.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "automatic",
    "canary",
    "champion",
    "column",
    "dataset",
    "deploy",
    "files",
    "metric_at_least",
    "model",
    "predict",
    "register",
    "step",
]

_WHERE = {
    "ask": "responses",
    "automatic": "responses",
    "canary": "rollouts",
    "champion": "gates",
    "column": "checks",
    "connect": "locate",
    "dataset": "declare",
    "deploy": "register",
    "direct": "rollouts",
    "files": "declare",
    "fresher_than": "checks",
    "log_metric": "tracking",
    "log_param": "tracking",
    "metric_at_least": "gates",
    "metric_at_most": "gates",
    "model": "declare",
    "observe": "responses",
    "p99_under": "gates",
    "predict": "register",
    "register": "register",
    "shadow": "rollouts",
    "step": "declare",
}


def __getattr__(name: str) -> object:
    """Load a name on first use (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'homeostat' has no attribute {name!r}; it has {', '.join(sorted(_WHERE))}")
    from importlib import import_module

    found: object = getattr(import_module(f"homeostat.project.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The names it can load."""
    return sorted([*globals(), *_WHERE])
