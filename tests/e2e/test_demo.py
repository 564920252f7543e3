"""The demo asserts each of its own steps; here it is run as a newcomer would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_tells_its_story_to_the_end_with_nothing_but_what_dtp_needs(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "environment")}
    ended = subprocess.run(
        ["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "That was all of it." in ended.stdout
    installed = {path.name for path in tmp_path.glob("environment/bin/*")}
    assert "dtp" in installed
    assert "pytest" not in installed
