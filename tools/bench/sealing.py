"""Measurement of sealing, by the node's own program: tools do not import a node."""

import json
import subprocess
import sys
from typing import Any

from tools.exits import ToolError


def measure_sealing(megabytes: int) -> dict[str, Any]:
    """Figures of `python -m node.sealing`. Raises `ToolError`."""
    command = [sys.executable, "-m", "node.sealing", "--megabytes", str(megabytes)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own program
    try:
        figures: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ToolError("bench-failed", reason) from None
    return figures
