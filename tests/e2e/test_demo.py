"""The demo asserts each of its own steps; here it is run as a newcomer would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_tells_its_story_to_the_end() -> None:
    demo = Path(__file__).parents[1] / "demo.py"
    ended = subprocess.run([sys.executable, demo], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "That was all of it." in ended.stdout
