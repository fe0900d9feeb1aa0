"""The session about a wrong Router change runs, and the README shows what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = "examples/config_history.py"


def comparable(text: str) -> list[str]:
    """Lines without what differs from run to run: times, ids, positions, ports, users."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"cli:\S+", "cli:USER", text)
    text = re.sub(r"\d+", "0", text)
    return [re.sub(r"[ .-]+", " ", line).strip() for line in text.strip().splitlines()]


def test_the_readme_shows_what_happens() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    readme = (ROOT / "README.md").read_text()
    shown = readme.partition(f"{SCRIPT}`")[2].partition("```\n")[2].partition("\n```")[0]
    assert "pbx whatif" in shown and "pbx explain" in shown
    assert comparable(done.stdout) == comparable(shown)
