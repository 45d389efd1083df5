"""The tables of docs/reference, made from the code itself; the prose around them is written by hand.

    python docs/generate.py            write every generated block anew
    python docs/generate.py --check    write nothing; exit 1 and name the pages that are out of date

A page holds a block between `<!-- generated: NAME -->` and `<!-- end: NAME -->`. tests/docs fails while a committed
block differs from what this file would write, so an undocumented setting, command, event, error, route or word of the
project file is a red test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

DOCS = Path(__file__).resolve().parent
SHARED = ("--json", "--home", "--server", "--project")  # explained once, above the block
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)


def load_everything() -> None:
    """Import every module of the package, so that every error, event and command has declared itself."""
    import homeostat

    for found in pkgutil.walk_packages(homeostat.__path__, "homeostat."):
        if not found.name.endswith(("__main__", ".demo.fraud")) and ".testing" not in found.name:
            importlib.import_module(found.name)


def settings() -> str:
    """Every setting."""
    from homeostat.foundation.settings import SETTINGS

    rows = []
    for s in SETTINGS:
        default = str(s.default).lower() if isinstance(s.default, bool) else str(s.default)
        rows.append([f"`{s.name}`", f"`HOMEOSTAT_{s.name.upper()}`", f"`{default}`" if default else "(empty)", s.about])
    return _table(["setting", "variable", "default", "what it is"], rows)


def errors() -> str:
    """The whole error catalogue, by the part of the code that says it."""
    from homeostat.foundation.errors import CATALOGUE

    groups: dict[str, list[list[str]]] = defaultdict(list)
    for code, e in sorted(CATALOGUE.items()):
        kind = f"{e.kind.name.lower()}, {e.kind.status}, exit {e.kind.exit_code}"
        groups[code.partition(".")[0]].append([f"`{code}`", kind, _values(e.rule), _values(e.fix)])
    parts = []
    for group, rows in sorted(groups.items()):
        parts += [f"### {group}", "", _table(["code", "kind", "what it says", "what to do"], rows), ""]
    return "\n".join(parts).rstrip()


def events() -> str:
    """Every kind of event, with its own fields."""
    from homeostat.foundation.events import Event, kinds

    shared = set(Event.__struct_fields__)
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for kind, cls in sorted(kinds().items()):
        if not cls.__module__.startswith("homeostat."):
            continue
        fields = ", ".join(f"`{f}`" for f in cls.__struct_fields__ if f not in shared)
        groups[kind.partition(".")[0]].append([f"`{kind}`", _first_paragraph(cls), fields or "-"])
    parts = []
    for group, rows in sorted(groups.items()):
        parts += [f"### {group}", "", _table(["kind", "what happened", "fields"], rows), ""]
    return "\n".join(parts).rstrip()


def commands() -> str:
    """Every command with its arguments and options, in the order of `homeostat --help`."""
    import click

    from homeostat.cli.root import root

    def walk(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
        if isinstance(command, click.Group):
            if parent is not None:
                yield f"### {path}\n\n{_help(command)}\n"
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, f"{path} {name}", context)
            return
        pieces = " ".join(command.collect_usage_pieces(context))
        level = "###" if path.count(" ") == 1 else "####"
        yield f"{level} {path}\n\n```text\n{path} {pieces}\n```\n\n{_help(command)}\n"
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        shared = [o.opts[0] for o in options if o.opts[0] in SHARED]
        own = [o for o in options if o.opts[0] not in SHARED]
        if own:
            yield _table(["option", "what it does"], [_option(o) for o in own]) + "\n"
        if shared:
            yield f"Shared options: {', '.join(f'`{o}`' for o in shared)}.\n"

    return "\n".join(walk(root, "homeostat", None)).rstrip()


def routes() -> str:
    """Every route of the control plane, with the permission it asks for."""
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for tag, method, path, permission, body, answer, about in _routes():
        what = f"{about} Takes {body}." if body else about
        groups[tag].append([f"`{method} {path}`", permission, answer, what])
    parts = []
    for tag, rows in groups.items():
        parts += [f"### {tag}", "", _table(["route", "permission", "answers", "what it does"], rows), ""]
    return "\n".join(parts).rstrip()


def permissions() -> str:
    """Permissions and the roles that hold them."""
    from homeostat.governance.access import PERMISSIONS, ROLES

    rows = []
    for permission, about in PERMISSIONS.items():
        held = ", ".join(role for role, has in ROLES.items() if permission in has)
        rows.append([f"`{permission}`", about, held])
    return _table(["permission", "lets one", "roles that have it"], rows)


def words() -> str:
    """Every name a project file can use, with its signature and what it means."""
    import homeostat
    from homeostat import _WHERE  # type: ignore[attr-defined]

    order = ["declare", "checks", "gates", "rollouts", "responses", "tracking", "register", "locate"]
    titles = {
        "declare": "What is declared", "checks": "Checks on a dataset", "gates": "Checks of a gate",
        "rollouts": "Rollouts", "responses": "Responses", "tracking": "Inside a step",
        "register": "A model that exists already", "locate": "Speaking to a server",
    }  # fmt: skip
    parts: list[str] = []
    for module in order:
        parts += [f"### {titles[module]}", ""]
        for name in [n for n, where in _WHERE.items() if where == module]:
            parts += _word(f"hs.{name}", getattr(homeostat, name))
            if name == "column":
                from homeostat.project.checks import Checked

                for method, function in inspect.getmembers(Checked, inspect.isfunction):
                    if not method.startswith("_"):
                        parts += _word(f"hs.column(...).{method}", function)
    left = set(_WHERE.values()) - set(order)
    assert not left, f"say where in the page the words of {left} belong"
    return "\n".join(parts).rstrip()


def metrics() -> str:
    """The metrics a gate and the monitors know."""
    from homeostat.project.gates import METRICS, REGRESSION_METRICS

    def listed(names: Any) -> str:
        return ", ".join(f"`{n}`" for n in sorted(names))

    return f"- classification: {listed(METRICS - REGRESSION_METRICS)}\n- regression: {listed(REGRESSION_METRICS)}"


def datatypes() -> str:
    """Which datatypes of the protocol each kind of column takes."""
    from homeostat.inference.tensors import DATATYPES, _accepted
    from homeostat.packages.records import Column

    rows = []
    for kind, shown in DATATYPES.items():
        taken = ", ".join(f"`{name}`" for name in _accepted(Column(name="x", kind=kind)))  # type: ignore[arg-type]
        rows.append([kind, f"`{shown}`", taken])
    return _table(["column", "shown as", "takes"], rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "errors": errors,
    "events": events,
    "commands": commands,
    "routes": routes,
    "permissions": permissions,
    "words": words,
    "metrics": metrics,
    "datatypes": datatypes,
}


def filled(page: str) -> str:
    """A page with every generated block made anew; raises KeyError on a block nobody makes."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]()}\n\n{m[4]}", page)


def pages() -> list[Path]:
    """Every page of the docs."""
    return sorted(DOCS.rglob("*.md"))


def main(check: bool) -> int:
    """Write, or only look; the exit code."""
    load_everything()
    stale = []
    for path in pages():
        before = path.read_text()
        after = filled(before)
        if after == before:
            continue
        stale.append(path)
        if not check:
            path.write_text(after)
    for path in stale:
        print(f"{'out of date' if check else 'wrote'}: {path.relative_to(DOCS.parent)}")
    return 1 if check and stale else 0


def _routes() -> list[tuple[str, str, str, str, str, str, str]]:
    """(tag, method, path, permission, body, answer, about) of every route, in the order of the router."""
    from litestar.routes import HTTPRoute

    from homeostat.api.application import create
    from homeostat.app import Homeostat
    from homeostat.foundation.settings import load

    with tempfile.TemporaryDirectory() as folder:
        home = Homeostat.open(load({"home": folder}, env={}, cwd=Path(folder)))
        try:
            app = create(home)
        finally:
            home.close()
    found = []
    for route in app.routes:
        if not isinstance(route, HTTPRoute) or re.fullmatch(r"/api/v1/openapi(/.*)?", route.path):
            continue  # pages of the framework's own
        for handler in route.route_handlers:
            opt = handler.opt.get("permission")
            if not opt:
                continue  # the framework's own answer to OPTIONS
            permission = " or ".join(f"`{p}`" for p in opt)
            if handler.opt.get("whole_home"):
                permission += ", whole home"
            parsed = handler.parsed_fn_signature
            body = parsed.parameters.get("data")
            function = getattr(handler.fn, "func", handler.fn)  # what runs on a thread is wrapped
            about = " ".join((inspect.getdoc(function) or "").split())
            queries = _queries(handler, route.path)
            if queries:
                about = f"{about} Query: {queries}."
            method = "/".join(sorted(m for m in handler.http_methods if m not in ("HEAD", "OPTIONS")))
            path = re.sub(r":(str|int|path)\}", "}", route.path)
            tag = (handler.tags and next(iter(handler.tags))) or "process"
            answer = _type(parsed.return_type.annotation)
            found.append((tag, method, path, permission, _type(body.annotation) if body else "", answer, about))
    tags = list(dict.fromkeys(entry[0] for entry in found))
    return sorted(found, key=lambda entry: (tags.index(entry[0]), entry[2], entry[1]))


def _queries(handler: Any, path: str) -> str:
    """The names that a route takes in its query string."""
    names = []
    for name, field in handler.parsed_fn_signature.parameters.items():
        definition = field.kwarg_definition
        shown = getattr(definition, "name", None) or name
        in_path = re.search(rf"\{{{re.escape(name)}(:|\}})", path)
        if name in ("caller", "data", "request", "body", "return") or in_path:
            continue
        names.append(f"`{shown}`")
    return ", ".join(names)


def _type(annotation: Any) -> str:
    """A type as a reader writes it."""
    text = annotation.__name__ if inspect.isclass(annotation) and not get_args(annotation) else str(annotation)
    text = re.sub(r"typing\.|[a-z_]+(?:\.[a-z_]+)*\.(?=[A-Z])", "", text)
    text = re.sub(r"Annotated\[([^,\]]+(?:\[[^\]]*\])?(?: \| None)?),.*\]$", r"\1", text)
    text = text.replace("NoneType", "None")
    return "nothing" if text == "None" else f"`{text}`"


def _word(title: str, function: Any) -> list[str]:
    parameters = []
    star = False
    for p in inspect.signature(function).parameters.values():
        if p.name == "self":
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parameters.append("*")
            star = True
        parameters.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
        if p.kind is p.POSITIONAL_ONLY:
            parameters.append("/")
    written = f"{title}({', '.join(parameters)})"
    if len(written) > 100:
        written = f"{title}(\n    " + ",\n    ".join(parameters) + ",\n)"
        written = written.replace("*,\n    ", "*, ", 1)
    return [f"#### {title}", "", "```text", written, "```", "", inspect.getdoc(function) or "", ""]


def _help(command: Any) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))


def _option(option: Any) -> list[str]:
    flag = ", ".join(f"`{o}`" for o in option.opts)
    if not option.is_flag:
        flag += f" `{option.metavar or option.type.name.upper()}`"
    about = option.help or ""
    choices = getattr(option.type, "choices", None)
    if choices:
        about += f" One of {', '.join(choices)}."
    if option.required:
        about += " Required."
    default = option.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        about += f" Default: {default}."
    return [flag, about]


def _first_paragraph(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _values(text: str) -> str:
    """The text of an error with its values as words in italics: {column!r} becomes *column*."""
    text = text.replace("{{", "\0").replace("}}", "\1").replace("*", r"\*").replace("<", "&lt;")
    text = re.sub(r"\{([a-z_]+)(?:![rs])?(?::[^}]*)?\}", r"*\1*", text)
    return text.replace("\0", "{").replace("\1", "}")


def _table(headings: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(" ".join(c.replace("|", r"\|").split()) for c in cells) + " |"

    return "\n".join([line(headings), "|" + "---|" * len(headings), *(line(row) for row in rows)])


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
