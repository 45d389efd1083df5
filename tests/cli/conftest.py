"""A project as `homeostat init` writes it, and a real server that holds its home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ran import Homeostat, Ran

from homeostat.cli.root import run
from homeostat.foundation.settings import load
from homeostat.project.locate import Embedded, start_embedded
from homeostat.project.template import write


@pytest.fixture
def homeostat(capfd: pytest.CaptureFixture[str]) -> Homeostat:
    """Run a command in this process, as the program would."""

    def ran(*args: str) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(a) for a in args])
        said = capfd.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return ran


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A control plane over a fresh home."""
    folder = tmp_path_factory.mktemp("project")
    write(folder)
    running = start_embedded(load({"home": str(folder / ".homeostat")}, cwd=folder))
    yield running
    running.stop()


@pytest.fixture
def project(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder, which the test runs in."""
    folder = Path(str(server.ready["home"])).parent
    monkeypatch.chdir(folder)
    for name in [n for n in os.environ if n.startswith("HOMEOSTAT_")]:
        monkeypatch.delenv(name)
    return folder
