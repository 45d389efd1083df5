"""`import homeostat` costs nothing, and every word it promises is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import homeostat
from homeostat.foundation.errors import HomeostatError

HEAVY = {"numpy", "polars", "sqlalchemy", "msgspec", "onnxruntime", "deltalake", "sklearn", "click", "http.client"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    program = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


def test_the_import_alone_loads_nothing_else() -> None:
    ours = {m for m in loaded_by("import homeostat") if m.startswith("homeostat")}
    assert ours == {"homeostat"}


def test_a_project_file_loads_no_frame_library_and_no_database() -> None:
    words = "hs.dataset('d', hs.files('x.csv'), label='y'); hs.canary(); hs.automatic(); hs.champion()"
    loaded = loaded_by(f"import homeostat as hs; {words}")
    assert not loaded & (HEAVY - {"msgspec"})


def test_every_name_is_found_and_a_dozen_are_told_of() -> None:
    assert len(homeostat.__all__) <= 12
    for name in homeostat._WHERE:
        assert callable(getattr(homeostat, name))
        assert name in dir(homeostat)
    with pytest.raises(AttributeError, match="champion"):
        homeostat.champoin  # noqa: B018


def test_errors_of_declarations_are_catalogue_errors() -> None:
    with pytest.raises(HomeostatError, match="is not a duration"):
        homeostat.canary(bake="soon")
