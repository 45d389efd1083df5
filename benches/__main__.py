"""`make bench`: every bench after the other, or those named: `make bench ARGS="inference monitoring"`.

Each script prints its table and writes its raw results with versions to benches/results/. They need a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(wanted: list[str]) -> int:
    """Run the scripts of the wanted folders (all without a name); the exit code is that of the worst."""
    scripts = sorted(path for path in HERE.glob("*/*.py") if not path.name.startswith("_"))
    chosen = [path for path in scripts if not wanted or path.parent.name in wanted or path.stem in wanted]
    if not chosen:
        names = ", ".join(sorted({path.parent.name for path in scripts}))
        print(f"error: no bench is called {' '.join(wanted)}\nhint: use some of: {names}", file=sys.stderr)
        return 2
    worst = 0
    for path in chosen:
        print(f"\n== {path.parent.name}/{path.stem}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(path)], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
