"""`make demo`: the whole product on this machine, in under a minute. Each step is asserted.

Makes a requests repository with example jobs in a fresh folder, and uses it as its people would:
a researcher checks, an admin dispatches, everybody looks. Real bytes, over loopback only.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DTP = str(Path(sys.executable).with_name("dtp"))
MEGABYTES = 64

JOBS = {
    "dtp-http/reads": """\
#!/bin/sh
#DTP time=10m
# Moves real bytes: from a web server on this machine, and checks what arrived.
curl -fsS --limit-rate 24M -w '%{size_download} bytes, %{speed_download} bytes/s\\n' \\
  -O {server}/reads.bin
curl -fsS -O {server}/reads.bin.sha256
sha256sum -c reads.bin.sha256
""",
    "dtp-local/tidy": """\
#!/bin/bash
# Fails: somebody forgot a letter.
mkdir -p shelf && mv boks shelf
""",
    "dtp-local/count-1": "#!/bin/sh\nsleep 4; echo counted 1\n",
    "dtp-local/count-2": "#!/bin/sh\nsleep 4; echo counted 2\n",
    "dtp-local/count-3": "#!/bin/sh\nsleep 4; echo counted 3\n",
    "dtp-aws/typo": "#!/bin/bash\n#DTP memry=1Gi\naws s3 ls\n",
}
CATALOG = "version: 1\nprotocols: {http: {image: registry.example.org/tools/http:1}}\n"


class Demo:
    """One requests repository and one embedded cluster, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "requests"
        self.cluster = folder / "cluster"
        self.environment = os.environ | {
            "DTP_CLUSTER": f"local:{self.cluster}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "demo",
            "GIT_AUTHOR_EMAIL": "demo@example.org",
            "GIT_COMMITTER_NAME": "demo",
            "GIT_COMMITTER_EMAIL": "demo@example.org",
        }

    def dtp(self, arguments: str, *, code: int = 0, quiet: bool = False) -> str:
        """Show a command, run it as typed, show its output; the exit code must be as expected."""
        if not quiet:
            say(f"\033[1m$ dtp {arguments}\033[0m")
        ended = subprocess.run(
            [DTP, *shlex.split(arguments)],
            cwd=self.repository,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if not quiet:
            say(ended.stdout)
        assert ended.returncode == code, f"dtp {arguments}: exit code {ended.returncode}"
        return ended.stdout

    def phases(self) -> dict[str, tuple[int, str]]:
        """Return each job's last attempt and phase."""
        told = json.loads(self.dtp("status --format json", quiet=True))
        return {job["ref"]: (job["attempt"], job["phase"]) for job in told["jobs"]}

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.repository, env=self.environment, check=True)

    def write(self, ref: str, script: str) -> None:
        path = self.repository / "dtp-jobs" / f"{ref}.sh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)

    def commit(self, message: str) -> None:
        say(f'\033[1m$ git commit -m "{message}"\033[0m      (stands for the merge of a PR)\n')
        self.git("add", ".")
        self.git("commit", "-qm", message)


def say(text: str) -> None:
    print(text, flush=True)


def chapter(text: str) -> None:
    say(f"\n\033[1;36m— {text}\033[0m\n")


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fill(folder: Path) -> None:
    """Put up the file that is to be moved, with its checksum."""
    folder.mkdir()
    (folder / "reads.bin").write_bytes(os.urandom(1_000_000) * MEGABYTES)
    listed = subprocess.run(
        ["sha256sum", "reads.bin"], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "reads.bin.sha256").write_text(listed.stdout)


def story(demo: Demo, server: str) -> None:
    """Tell it, step by step."""
    chapter("Researchers add scripts. A mistake is found before the merge.")
    for ref, script in JOBS.items():
        demo.write(ref, script.replace("{server}", server))
    (demo.repository / "dtp-jobs" / "catalog.yaml").write_text(CATALOG)
    found = demo.dtp("check", code=1)
    assert "did you mean `memory`?" in found

    chapter("Merged. What will dispatch do? It runs: four slots, five jobs, so one waits.")
    demo.commit("Five transfers and a typo")
    assert demo.dtp("plan").count("new on the branch") == 5
    demo.dtp("dispatch --wait 60", code=1)
    first = demo.phases()
    assert first.pop("dtp-local/tidy") == (1, "FAILED")
    assert set(first.values()) == {(1, "SUCCEEDED")}, first
    assert "dtp-aws/typo" not in first
    moved = demo.cluster / "workspace" / "dtp-jobs" / "dtp-http" / "reads" / "reads.bin"
    assert moved.stat().st_size == MEGABYTES * 1_000_000

    chapter("Where everything stands, and what the pull request will show.")
    demo.dtp("status")
    comment = demo.dtp("status --format markdown", quiet=True)
    assert "cannot stat 'boks'" in comment
    assert f"{MEGABYTES}000000 bytes, " in comment
    show_markdown(comment)

    chapter("Dispatch again: nothing to do. A finished job that is changed is held, not run.")
    demo.write("dtp-local/count-1", "#!/bin/sh\necho counted again\n")
    demo.commit("Count again")
    assert "changed, not run" in demo.dtp("dispatch")
    assert demo.phases()["dtp-local/count-1"] == (1, "SUCCEEDED")

    chapter("The failed one is mended: it runs by itself. And the held one, because somebody asks.")
    demo.write("dtp-local/tidy", "#!/bin/bash\ntouch books && mkdir -p shelf && mv books shelf\n")
    demo.commit("A letter")
    demo.dtp("retry dtp-local/count-1")
    demo.dtp("dispatch --wait 60")
    assert demo.phases()["dtp-local/tidy"] == (2, "SUCCEEDED")
    assert demo.phases()["dtp-local/count-1"] == (2, "SUCCEEDED")
    assert "counted again" in demo.dtp("logs dtp-local/count-1")


def show_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.panel import Panel

    shown = text.replace("<details><summary>", "").replace("</summary>", "")
    shown = shown.replace("</details>", "").replace("<code>", "").replace("</code>", "")
    Console().print(Panel(Markdown(shown), title="the pull request's comment"))


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="dtp-demo-"))
    demo = Demo(folder)
    demo.repository.mkdir()
    demo.git("init", "-q", "-b", "main", ".")
    fill(folder / "server")
    with web_server(folder / "server") as server:
        story(demo, server)
    chapter("That was all of it.")
    say(f"repository     {demo.repository}\nledger, logs   {demo.cluster}")
    say(f"the data       {demo.cluster / 'workspace' / 'dtp-jobs'}\n")
    say("Next: add a script of your own to the repository, commit it, and type")
    say(f"  cd {demo.repository}; export DTP_CLUSTER=local:{demo.cluster}")
    say(f"  {DTP} dispatch --wait 60")


if __name__ == "__main__":
    main()
