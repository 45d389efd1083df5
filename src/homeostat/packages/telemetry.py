"""ONNX Runtime's wheel reports to its maker by default (since 1.29 on Linux too). Importing this module turns it off.

The switch is an environment variable that ONNX Runtime reads once, when its library is loaded; set before, neither
uploader, device id nor cache file is made. `disable_telemetry_events()` is no substitute: it comes after the first
event. So this folder's `__init__` imports this file first.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "ORT_DISABLE_TELEMETRY"


def turn_off() -> None:
    """Set the switch for this process and its children.

    When somebody imported onnxruntime before, its first event is out already; what would follow is stopped.
    """
    late = sys.modules.get("onnxruntime")
    if late is not None and os.environ.get(VARIABLE) != "1":
        late.disable_telemetry_events()
    os.environ[VARIABLE] = "1"


turn_off()
