"""What every benchmark shares: the machine's facts, and results as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from slopewise.study._environment import environment

RESULTS = Path(__file__).parent / "results"


def write_json(name: str, results: dict[str, Any], path: Path | None = None) -> Path:
    """Write results beside the facts of this machine, to benchmarks/results/NAME.json unless told otherwise."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {**environment(), "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps({"facts": facts, **results}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return path
