"""Runs a command beside an artificial load: `python -m tests.load COMMAND…`.

Three busy processes a core (DTP_LOAD sets how many in all), the first of which writes to the disk.
They end with the command, however it ends; what the load was is said at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

# Standard input is a pipe that nothing comes through: it ends when we do, though we be killed.
BUSY = """
import os, sys, threading
threading.Thread(target=lambda: os._exit(len(os.read(0, 1)))).start()
while True:
    if sys.argv[1:]:
        with open(sys.argv[1], "wb") as file:
            file.write(os.urandom(1 << 24))
            os.fsync(file.fileno())
"""


def main(command: list[str]) -> int:
    """Return the command's exit code."""
    cores = os.cpu_count() or 1
    number = int(os.environ.get("DTP_LOAD", 3 * cores))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for one in range(number):
            argv = [sys.executable, "-c", BUSY, *([] if one else [f"{folder}/written"])]
            busy = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE))
            stack.callback(busy.kill)
        code = subprocess.run(command, check=False).returncode
    seconds, load = time.monotonic() - began, os.getloadavg()[1]
    what = f"{number} busy processes, one of them writing to the disk, on {cores} cores"
    print(f"{what}: exit {code} after {seconds:.0f} s, load {load:.1f}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
