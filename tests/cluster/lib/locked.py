"""Print what the project runs with, as its lock has it: a requirements file with hashes.

    python3 locked.py UV_LOCK PACKAGE

For a machine without uv: the packages that PACKAGE needs, and not what only its developers need.
"""

from __future__ import annotations

import pathlib
import sys
import tomllib
from typing import Any


def needed(packages: dict[str, Any], package: str) -> set[str]:
    """Return the names of what a package needs, and of what that needs."""
    found: set[str] = set()
    todo = [package]
    while todo:
        new = {one["name"] for one in packages[todo.pop()].get("dependencies", ())} - found
        found |= new
        todo += new
    return found


def main(lock: str, package: str) -> None:
    parsed = tomllib.loads(pathlib.Path(lock).read_text())
    packages = {one["name"]: one for one in parsed["package"]}
    for name in sorted(needed(packages, package)):
        wheels = packages[name]["wheels"]
        hashes = " ".join(f"--hash={wheel['hash']}" for wheel in wheels)
        print(f"{name}=={packages[name]['version']} {hashes}")


if __name__ == "__main__":
    main(*sys.argv[1:])
