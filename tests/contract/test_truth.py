"""What people are told of a script is true: kinds of scripts, each with what is said at its end.

They run as a user starts them, on the embedded cluster, with stand-ins for the tools: `rclone` and
`wget` bring a file, `prefetch` and the others fail with a code of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DTP = Path(sys.executable).with_name("dtp")

TOOLS = {
    "rclone": "echo data >genome.fa",
    "wget": "echo data >index.html",
    "prefetch": "echo 'prefetch: no such run' >&2; exit 3",
    "fasterq-dump": "exit 3",
    "aws": "echo 'fatal error: no route' >&2; exit 1",
    "curl": "exit 28",
    "aria2c": "exit 28",
    "rsync": "exit 12",
    "mc": "echo 'mc: <ERROR> no route' >&2; exit 1",
    "slow-get": 'sleep "$1"; echo data >"$2"',
}
BASH, STRICT = "#!/bin/bash\n", "#!/bin/bash\nset -euo pipefail\n"

# Ended with 0, and failed: the protocol, the script, and a part of what has to be told.
FAILED = {
    "background": ("rclone", BASH + "nohup nice slow-get 30 genome.fa &\n", "2 processes"),
    "background-to-a-file": (
        "rclone",
        BASH + "slow-get 30 genome.fa >transfer.log 2>&1 &\necho started\n",
        "still running and were ended (slow-get, sleep): end the script with `wait`",
    ),
    "session-of-its-own": (
        "rclone",
        "#!/bin/sh\nsetsid slow-get 30 genome.fa >/dev/null 2>&1 &\necho started >note\n",
        "2 processes",
    ),
    "loop-in-the-background": (
        "rclone",
        BASH + "for i in 1 2; do (slow-get 30 $i; slow-get 30 $i) & done\n",
        "processes were still running",
    ),
    "disowned": ("http", BASH + "slow-get 30 x & disown\nexit 0\n", "2 processes"),
    "went-on": (
        "sra-tools",
        BASH + "prefetch SRR000001\nfasterq-dump SRR000001\necho Done\n",
        "line 2: `prefetch SRR000001` ended with exit code 3, and the script went on (and 1 more)",
    ),
    "cluster-of-before": (
        "sra-tools",
        BASH + "#SBATCH --time=5\nmodule load sratoolkit\ndate >when\n",
        "line 3: `module load sratoolkit` ended with exit code 127",
    ),
    "through-env": ("aws", "#!/usr/bin/env bash\naws s3 sync . s3://b\necho ok\n", "exit code 1"),
    "every-one-of-a-list": (
        "sra-tools",
        BASH + "for run in A B C; do prefetch $run; done\necho Done\n",
        "line 2: `prefetch $run` ended with exit code 3, and the script went on (and 2 more)",
    ),
    "in-a-function": (
        "http",
        BASH + 'get() {\n  curl -O "$1"\n  echo "$1 is here"\n}\nget a\nget b\n',
        'line 3: `curl -O "$1"` ended with exit code 28, and the script went on (and 1 more)',
    ),
    "in-a-subshell": ("aws", BASH + "(mkdir d; cd d; aws s3 cp x y; date)\n", "`aws s3 cp x y`"),
    "in-a-pipe": (
        "http",
        BASH + "set -o pipefail\ncurl u | tee page | sort >sorted\necho ok\n",
        "line 3: `curl u | tee page | sort >sorted` ended with exit code 28",
    ),
    "ended-by-hand": ("aws", BASH + "aws s3 sync . s3://b\nexit 0\n", "line 2: `aws s3 sync"),
    "waited-for": ("aws", BASH + "aws s3 ls & one=$!\nwait $one\necho ok\n", "`wait $one`"),
    "a-check-that-failed": (
        "rclone",
        BASH + "rclone copy a:b .\necho 0  genome.fa | md5sum -c\necho ok\n",
        "ended with exit code 1, and the script went on",
    ),
    "no-list": (
        "sra-tools",
        BASH + 'while read -r run; do prefetch "$run"; done <acc.txt\ndate >when\n',
        "line 2: acc.txt: No such file or directory",
    ),
    "no-argument": (
        "sra-tools",
        BASH + "LIST=$1\nwhile read -r run; do echo $run; done <$LIST\ndate >when\n",
        "line 3: $LIST: ambiguous redirect",
    ),
    "no-place": (
        "rclone",
        BASH + "cd /lab/run && rclone copy a:b .\ndate\n",
        "line 2: cd: /lab/run",
    ),
    "no-place-to-write": ("rclone", "#!/bin/sh\nrclone ls a: >/lab/x\ndate\n", "line 2: "),
    "missing-in-sh": (
        "sra-tools",
        "#!/bin/sh\nvdb-nothing SRR1\ndate >w\n",
        "line 2: vdb-nothing: not",
    ),
    "missing-in-the-background": (
        "http",
        BASH + "get-all u &\nwait\n",
        "get-all: command not found",
    ),
    "bash-words-in-sh": (
        "http",
        "#!/bin/sh\nif [[ -e chr1.fa ]]; then echo whole; fi\ndate >w\n",
        "line 2: [[: not found",
    ),
    "in-a-script-of-its-own": (
        "http",
        BASH + "printf 'get-all u\\ndate\\n' >all.sh\nbash all.sh\n",
        "get-all: command not found",
    ),
    "a-number-that-is-none": (
        "rclone",
        BASH + "if [ $N -gt 3 ]; then rclone copy a:b .; fi\ndate >when\n",
        "line 2: [: -gt: unary operator expected",
    ),
}

# Ended with 0, and all is well.
FINE = {
    "plain": ("rclone", STRICT + "rclone copy a:b .\n"),
    "in-sh": ("rclone", "#!/bin/sh\nset -eu\nrclone copy a:b .\n"),
    "log-of-its-own": (
        "rclone",
        STRICT + "exec > >(tee run.txt) 2>&1\necho begins\nrclone copy a:b .\n",
    ),
    "waits-for-what-it-began": ("http", BASH + "slow-get 1 a & slow-get 1 b &\nwait\n"),
    "waits-for-each": ("http", STRICT + "slow-get 1 a & one=$!\nwait $one\n"),
    "another-source": ("http", BASH + "prefetch A || wget u\nif ! curl u; then wget u; fi\n"),
    "tries-again-itself": ("http", BASH + "until wget u; do sleep 1; done\n"),
    "tidies-up": ("rclone", BASH + "mkdir d\nmkdir d\nrm old\nrmdir none\nrclone copy a:b .\n"),
    "asks": (
        "rclone",
        BASH + "rclone copy a:b .\ngrep -c ACGT genome.fa\ndiff genome.fa /dev/null\n"
        "[ -s nothing ]\n((n = 0))\nlet n=0\nread -r line </dev/null\ncommand -v nothing\ntrue\n",
    ),
    "counts": ("rclone", BASH + 'rclone copy a:b .\nn=$(grep -c ACGT genome.fa)\necho "$n"\n'),
    "makes-its-place": ("rclone", BASH + "cd d || { mkdir d; cd d; }\nrclone copy a:b .\n"),
    "traps-of-its-own": (
        "rclone",
        BASH + "trap 'echo failed; exit 4' ERR\ntrap 'rm -f part' EXIT\n"
        "inner() { rclone copy a:b .; [ -e nothing ] || true; }\ninner\n",
    ),
    "an-inner-failure-of-no-matter": (
        "rclone",
        BASH + "trap 'exit 4' ERR\nget() { prefetch A; rclone copy a:b .; }\nget\n",
    ),
    "had-enough": ("http", BASH + "set -o pipefail\nyes | head -n 1 >first\nwget u\n"),
    "ends-its-monitor": (
        "rclone",
        BASH + "while :; do sleep 1; done & monitor=$!\nrclone copy a:b .\n"
        "kill $monitor\nwait $monitor 2>/dev/null\necho ok\n",
    ),
    "agent": ("ssh", BASH + "ssh-agent 30 &\nwget u\n"),
    "moves-within": (
        "local",
        '#!/bin/sh\nset -eu\nmkdir -p "$TMPDIR/x"\nmv "$TMPDIR/x" "$TMPDIR/y"\n',
    ),
    "prints-words": ("http", STRICT + "wget u\necho 'sample 7: not found'\necho 'a: line: x'\n"),
    "functions": (
        "rclone",
        STRICT
        + 'get() {\n  local from=$1\n  rclone copy "$from" .\n}\nfor i in a b; do get "$i"; done\n',
    ),
    "sources": ("rclone", STRICT + "echo 'rclone copy a:b .' >lib\nsource lib\n. ./lib\n"),
    "nothing-of-bash-env": ("rclone", BASH + '[ -z "${BASH_ENV+x}$DTP_RECORD" ] && rclone x\n'),
}

# Failed: the protocol, the script, how often it was started, and what has to be told.
CAUSES = {
    "no-such-folder": (
        "aws",
        "#!/bin/bash\n#DTP retries=2\nset -euo pipefail\ncd last-week\naws s3 sync . s3://b\n",
        1,
        "your script failed (exit 1): line 4: `cd last-week` ended with exit code 1",
    ),
    "no-such-folder-in-sh": (
        "aws",
        "#!/bin/sh\n#DTP retries=2\nset -eu\ncd last-week\naws s3 sync . s3://b\n",
        1,
        "your script failed (exit 2): line 4: cd: can't cd to last-week",
    ),
    "a-test": (
        "minio",
        "#!/bin/bash\n#DTP retries=2\nset -e\n[ -e list ]\nmc mirror a b\n",
        1,
        "your script failed (exit 1): line 4: `[ -e list ]` ended with exit code 1",
    ),
    "its-own-word": (
        "aws",
        "#!/bin/bash\n#DTP retries=2\n[ -e list ] || exit 1\naws s3 ls\n",
        1,
        "your script failed (exit 1), which means for `aws`: some of the S3 transfers failed",
    ),
    "not-set": (
        "aws",
        "#!/bin/bash\n#DTP retries=2\nset -u\naws s3 cp x $WHERE\n",
        1,
        "your script failed (exit 1): line 4: WHERE: unbound variable",
    ),
    "the-tool": (
        "aws",
        "#!/bin/bash\n#DTP retries=1\nset -e\naws s3 sync . s3://b\n",
        2,
        "your script failed (exit 1): some of the S3 transfers failed (line 4: `aws s3 sync . s3://b`)",
    ),
    "the-tool-behind-others": (
        "aws",
        "#!/bin/bash\n#DTP retries=1\nset -eo pipefail\nx=1 timeout 60 aws s3 ls | sort | tee y\n",
        2,
        "your script failed (exit 1): some of the S3 transfers failed (line 4: `x=1 timeout 60 aws",
    ),
    "another-tool": (
        "http",
        "#!/bin/bash\n#DTP retries=1\naria2c --no-such-option u\n",
        1,
        "your script failed (exit 28): the command line is wrong (line 3: `aria2c --no-such-option",
    ),
    "that-tool": (
        "http",
        "#!/bin/bash\n#DTP retries=1\ncurl -fsSO u\n",
        2,
        "your script failed (exit 28): the transfer timed out (line 3: `curl -fsSO u`)",
    ),
    "says-its-name-in-sh": (
        "minio",
        "#!/bin/sh\n#DTP retries=1\nset -eu\nmc mirror a b\n",
        2,
        "your script failed (exit 1): mc failed",
    ),
    "one-of-two-in-sh": (
        "http",
        "#!/bin/sh\n#DTP retries=1\nset -eu\ncurl -fsSO u\n",
        2,
        "your script failed (exit 28), which means for `curl`: the transfer timed out; for `aria2c`"
        ": the command line is wrong",
    ),
    "kept-and-passed-on": (
        "ssh",
        "#!/bin/bash\n#DTP retries=1\nrsync a b || code=$?\nexit $code\n",
        2,
        "your script failed (exit 12), which means for `rsync`: the connection broke within",
    ),
    "not-in-the-image": (
        "rclone",
        STRICT + "rclome copy a:b .\n",
        1,
        "your script failed (exit 127): a program that it calls is not in the image (line 3:"
        " `rclome copy a:b .`)",
    ),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run all scripts once; return the row of each as `dtp status` has it."""
    root = tmp_path_factory.mktemp("truth")
    environment = _environment(root)
    jobs = root / "requests" / "dtp-jobs"
    images = ", ".join(
        f"{name}: {{image: registry.example.org/{name}:1}}" for name in ("http", "ssh")
    )
    every: dict[str, tuple[Any, ...]] = {**FAILED, **FINE, **CAUSES}
    assert len(every) == len(FAILED) + len(FINE) + len(CAUSES)
    for name, (protocol, script, *_) in every.items():
        place = jobs / f"dtp-{protocol}" / f"{name}.sh"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(script)
    (jobs / "catalog.yaml").write_text(f"version: 1\nprotocols: {{{images}}}\n")

    def run(*argv: str, expect: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            argv,
            cwd=root / "requests",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in expect, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "add", "--all")
    run("git", "-c", "user.name=Ada", "-c", "user.email=a@example.org", "commit", "-qm", "jobs")
    ask = ("--source", "tests", "--first-run", "--wait", "500")
    run(str(DTP), "dispatch", *ask, expect=(0, 1))
    shown = json.loads(run(str(DTP), "status", "--format", "json"))
    return {row["job"]: row for row in shown["jobs"]}


def _environment(root: Path) -> dict[str, str]:
    for name in ("requests", "bin", "home", "tmp"):
        (root / name).mkdir()
    for name, does in TOOLS.items():
        tool = root / "bin" / name
        tool.write_text(f"#!/bin/sh\n{does}\n")
        tool.chmod(0o755)
    shutil.copy(str(shutil.which("sleep")), root / "bin" / "ssh-agent")
    own = ("DTP_", "GIT_", "GITHUB_", "KUBECONFIG", "BASH_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    return kept | {
        "DTP_CLUSTER": f"local:{root / 'cluster'}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
    }


@pytest.mark.parametrize("name", FAILED)
def test_what_failed_is_not_plainly_done(name: str, rows: dict[str, dict[str, Any]]) -> None:
    told = rows[name]
    assert (told["phase"], told["exit_code"]) == ("SUCCEEDED", 0)
    assert FAILED[name][2] in " | ".join(told["doubts"])


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_is_not_doubted(name: str, rows: dict[str, dict[str, Any]]) -> None:
    told = rows[name]
    assert (told["phase"], told["doubts"]) == ("SUCCEEDED", [])
    assert told["warnings"] == []


@pytest.mark.parametrize("name", CAUSES)
def test_a_code_means_what_the_record_shows(name: str, rows: dict[str, dict[str, Any]]) -> None:
    _, _, starts, words = CAUSES[name]
    assert rows[name]["phase"] == "FAILED"
    assert rows[name]["reason"].startswith(words)
    assert rows[name]["starts"] == starts
