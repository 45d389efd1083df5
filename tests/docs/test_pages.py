"""Every code block of the docs runs, in the order it stands, in an empty folder, against the real product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Reader, blocks

from homeostat.project.load import load

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


# Pages that go on from the tutorial, in an order in which they can.
AFTER_THE_TUTORIAL = (
    "deploy-and-roll-back",
    "declare-a-dataset",
    "issue-tokens",
    "back-up-restore-export",
    "approve-decisions",
)
ON_THEIR_OWN = ("register-an-existing-model", "write-a-project", "read-an-incident")


def test_the_tutorial_and_what_goes_on_from_it(reader: Reader) -> None:
    reader.read(DOCS / "tutorial" / "first-model.md")
    for name in AFTER_THE_TUTORIAL:
        reader.read(DOCS / "how-to" / f"{name}.md")


@pytest.mark.parametrize("name", ON_THEIR_OWN)
def test_a_page_of_its_own(reader: Reader, name: str) -> None:
    reader.read(DOCS / "how-to" / f"{name}.md")


def test_every_page_is_run() -> None:
    pages = {path.stem for path in (DOCS / "how-to").glob("*.md")}
    assert pages == {*AFTER_THE_TUTORIAL, *ON_THEIR_OWN}


@pytest.mark.parametrize(("page", "model"), [("README.md", "fraud"), ("docs/reference/project-file.md", "returns")])
def test_a_project_that_is_only_shown_declares_what_it_says(tmp_path: Path, page: str, model: str) -> None:
    body = next(b for language, _, b in blocks(ROOT / page) if language == "python" and "@hs.model" in b)
    (tmp_path / "project.py").write_text(body)
    assert [p.name for p in load(tmp_path / "project.py").pipelines] == [model]
    assert len(body.splitlines()) <= 40
