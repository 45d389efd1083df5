"""The rules of the architecture that a test can keep (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "homeostat"
FILES = sorted(p for p in SOURCE.rglob("*.py"))
DOMAINS = (
    "governance",
    "data",
    "tracking",
    "registry",
    "pipelines",
    "serving",
    "monitoring",
    "delivery",
    "control",
)
BANNED_NAMES = {"utils", "helpers", "manager", "service", "base", "common", "core"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("homeostat")


def test_imports_only_point_down() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-logo"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_module_imports_itself_in_a_circle(graph: grimp.ImportGraph) -> None:
    """Depth first over direct imports; imports inside functions count as much as those at the top."""
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        state[module] = 1
        for below in sorted(graph.find_modules_directly_imported_by(module)):
            if state.get(below) == 1 and below != module:
                circle = " -> ".join((*path[path.index(below) :], below) if below in path else (module, below))
                raise AssertionError(f"circle: {circle}")
            if below not in state:
                visit(below, (*path, below))
        state[module] = 2

    for module in sorted(graph.modules):
        if module not in state:
            visit(module, (module,))


def test_tables_are_private_to_their_domain(graph: grimp.ImportGraph) -> None:
    for domain in DOMAINS:
        importers = graph.find_modules_that_directly_import(f"homeostat.{domain}.tables")
        strangers = {m for m in importers if not m.startswith(f"homeostat.{domain}.")}
        assert not strangers, f"{strangers} reach into the tables of {domain}"


def test_every_domain_has_one_shape() -> None:
    for domain in DOMAINS:
        folder = SOURCE / domain
        for name in ("__init__.py", "records.py", "tables.py", "events.py"):
            assert (folder / name).is_file(), f"{domain} lacks {name}"
        doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert len(doc) > 200, f"{domain}/__init__.py does not explain the domain and name its public surface"


def test_records_are_frozen_structs() -> None:
    for folder in (*DOMAINS, "packages"):
        tree = ast.parse((SOURCE / folder / "records.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                options = [
                    *node.keywords,
                    *(k for d in node.decorator_list if isinstance(d, ast.Call) for k in d.keywords),
                ]
                frozen = any(k.arg == "frozen" and ast.unparse(k.value) == "True" for k in options)
                assert frozen, f"{folder}.records.{node.name} is not frozen"


def test_every_table_carries_its_project() -> None:
    import_all_tables()
    from homeostat.foundation.database import metadata

    missing = [t.name for t in metadata.sorted_tables if "project" not in t.columns]
    assert not missing
    assert len(metadata.sorted_tables) > 20


def import_all_tables() -> None:
    import importlib

    for path in SOURCE.rglob("tables.py"):
        if path.parent.name != "foundation":
            importlib.import_module(f"homeostat.{path.parent.name}.tables")
    importlib.import_module("homeostat.foundation.refs")
    importlib.import_module("homeostat.foundation.migrations")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "split it by verb or noun"
    assert path.stem not in BANNED_NAMES and path.parent.name not in BANNED_NAMES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_module_and_public_name_is_explained(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module without a docstring"
    if path.name.startswith("fraud"):
        return  # a project as a user writes it
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
            assert overload or ast.get_docstring(node), f"{node.name} has no docstring"


def modules_after(statement: str) -> set[str]:
    """Names of the modules a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in found.stdout.split()}


def test_importing_the_package_is_light() -> None:
    assert not modules_after("import homeostat") & {"numpy", "polars", "sqlalchemy", "sklearn", "onnxruntime"}


def test_the_root_has_at_most_a_dozen_names() -> None:
    import homeostat

    assert len(homeostat.__all__) <= 12
    for name in homeostat.__all__:
        assert getattr(homeostat, name) is not None


def test_control_does_not_load_numbers() -> None:
    loaded = modules_after("import homeostat.cli.serving, homeostat.control.loop, homeostat.app")
    assert not loaded & {"numpy", "polars", "sklearn", "deltalake", "onnxruntime", "pandas", "pyarrow"}


def test_inference_imports_nothing_above_it() -> None:
    code = "import homeostat.inference.__main__, homeostat.inference.server, homeostat.inference.handler"
    loaded = modules_after(code)
    assert not loaded & {"sqlalchemy", "polars", "litestar", "sklearn", "deltalake", "jinja2", "click"}


def test_nothing_imports_testing(graph: grimp.ImportGraph) -> None:
    for module in graph.modules:
        if module.startswith("homeostat.testing"):
            above = {m for m in graph.find_modules_that_directly_import(module) if ".testing" not in m}
            assert not above
