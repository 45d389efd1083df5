"""The catalogue: every code once, every error raised with the values that its words need."""

from __future__ import annotations

import ast
import importlib
import string
from pathlib import Path

import pytest

import homeostat
from homeostat.foundation.errors import CATALOGUE, Entry, HomeostatError, Kind, entry, from_dict

SOURCE = Path(homeostat.__file__).parent
TREES = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def declared() -> dict[Path, dict[str, str]]:
    """File -> name -> rule and fix, of every entry that the source declares."""
    found: dict[Path, dict[str, str]] = {}
    for path, tree in TREES.items():
        for node in tree.body:
            value = getattr(node, "value", None)
            if isinstance(node, ast.Assign) and isinstance(value, ast.Call) and ast.unparse(value.func) == "entry":
                rule, fix = (ast.literal_eval(argument) for argument in value.args[2:4])
                assert isinstance(node.targets[0], ast.Name)
                found.setdefault(path, {})[node.targets[0].id] = f"{rule} {fix}"
    return found


DECLARED = declared()


def named_here(path: Path) -> dict[str, str]:
    """Every entry that a file can name, with its words: its own, and those it imports by name."""
    known = dict(DECLARED.get(path, {}))
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("homeostat"):
            parts = node.module.split(".")[1:]
            for source in (SOURCE.joinpath(*parts).with_suffix(".py"), SOURCE.joinpath(*parts, "__init__.py")):
                for alias in node.names:
                    if alias.name in DECLARED.get(source, {}):
                        known[alias.asname or alias.name] = DECLARED[source][alias.name]
    return known


@pytest.mark.parametrize("path", [p for p in TREES if named_here(p)], ids=lambda p: str(p.relative_to(SOURCE)))
def test_an_error_is_raised_with_the_values_its_words_need(path: Path) -> None:
    """A value that is missing would turn a refusal into a KeyError, on a path that no other test may walk."""
    known = named_here(path)
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            given = {keyword.arg for keyword in node.keywords}
            if None in given:
                continue  # **values
            needed = {name for _, name, _, _ in string.Formatter().parse(known[node.func.id]) if name}
            assert needed <= given, f"line {node.lineno}: {node.func.id} lacks {needed - given}"


def test_every_entry_says_what_to_do() -> None:
    for path in TREES:
        if path in DECLARED:
            importlib.import_module(".".join(("homeostat", *path.relative_to(SOURCE).with_suffix("").parts)))
    ours = {code: e for code, e in CATALOGUE.items() if not code.startswith("test.")}
    assert len(ours) > 100
    for code, found in ours.items():
        assert found.rule.strip() and found.fix.strip(), code
        assert code == code.lower() and (code == "internal" or "." in code)


def test_a_code_is_declared_once() -> None:
    first = entry("test.once", Kind.INVALID, "a {thing}", "do")
    assert entry("test.once", Kind.INVALID, "a {thing}", "do") == first
    with pytest.raises(ValueError, match="declared twice"):
        entry("test.once", Kind.FAILED, "another", "do")


def test_an_error_crosses_a_border_word_for_word() -> None:
    made = entry("test.border", Kind.REFUSED, "{what} is not {rule}", "use {rule}")
    error = made(field="share", what="{braces}", rule=0.5, path=Path("/x"))
    assert (str(error), error.message, error.hint) == ("share: {braces} is not 0.5", "{braces} is not 0.5", "use 0.5")
    sent = error.as_dict()
    assert sent["values"] == {"what": "{braces}", "rule": 0.5}
    back = from_dict(sent)
    assert (str(back), back.hint, back.code, back.kind, back.field) == (
        str(error), error.hint, "test.border", Kind.REFUSED, "share",
    )  # fmt: skip
    assert (back.kind.status, back.kind.exit_code) == (422, 4)
    assert from_dict(back.as_dict()).as_dict() == back.as_dict()


def test_an_error_of_another_version_keeps_its_kind_by_status() -> None:
    unknown = from_dict({"code": "of.tomorrow", "message": "no"}, status=404)
    assert unknown.kind is Kind.NOT_FOUND and unknown.code == "of.tomorrow" and isinstance(unknown, HomeostatError)
    assert from_dict({}, status=418).kind is Kind.FAILED
    assert isinstance(unknown.entry, Entry)
