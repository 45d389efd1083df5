"""What control imports of this folder stays light."""

from __future__ import annotations

import subprocess
import sys

LIGHT = "contracts datasets events labels lineage quarantine records sources tables versions"


def test_control_side_files_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        f"for name in '{LIGHT}'.split(): __import__('homeostat.data.' + name)\n"
        "print([m for m in ('polars', 'numpy', 'deltalake', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
