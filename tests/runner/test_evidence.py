"""The record of commands: what the runner makes of it; no script notices that it is kept."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.runner.conftest import AS_PID_1, RUNNER, Attempt, program

BASHES = {"image": ["bash"], "runner": ["bash-static"]}
OPTIONS = {
    "none": [],
    "strict": ["-euo", "pipefail"],
    "login": ["--login"],
    "traced": ["-x"],
    "allexport": ["-a"],
    "noclobber": ["-C"],
}
# What a script can see of its shell, with commands that fail between.
KINDS = r"""
==status
false; echo $?
ls /none 2>/dev/null; echo $? $_
true a b; echo $_
ls -l /none
echo $_
==pipes
false | true | false; echo ${PIPESTATUS[*]}
set -o pipefail
false | true; echo $?
==set-e
set -e
f() { false; echo not here; }
if f; then echo went on; fi
f
echo not here
==set-e-subshell
set -e
(false; echo no) || echo or
x=$(false; echo inner); echo $x
false
echo no
==set-u
set -u
f() { echo ${1-none}; return 3; }
f; echo $?
echo $NONE
echo not here
==own-err
trap 'echo failed $? $LINENO' ERR
f() { false; true; }
f
(false; true)
false
echo end
==own-err-everywhere
set -E
trap 'echo failed $?' ERR
f() { false; true; }
f
(false; true)
echo end
==own-exit
trap 'echo bye $?' EXIT
(trap 'echo sub' EXIT; false)
false
exit 4
==own-signals
trap 'echo usr' USR1
kill -USR1 $$
false
trap -p USR1
trap - USR1
==return
trap 'echo returned' RETURN
f() { false; return 5; }
f; echo $?
==source
printf 'false\necho in $?\nreturn 6\n' >lib
source ./lib; echo $?
. ./none; echo $?
==exec
false
exec sh -c 'echo ${BASH_ENV-unset} ${DTP_RECORD-unset}; exit 7'
==children
false
bash -c 'false; echo ${BASH_ENV-unset}; trap'
env >seen
grep -c 'dtp_\|DTP_RECORD' seen
==redirections
exec 2>err
false
: >/none/x; echo $?
exec >out 2>&1
false
echo in out
cat out >&2
==words
IFS=,
set -f
shopt -s nullglob extglob
false | true
echo "$IFS"
false
echo *
==arithmetic
((0)); echo $?
let 0; echo $?
[[ a = b ]]; echo $?
[[ abc =~ (b) ]]
false
echo $BASH_REMATCH
==loops
i=0
while ((i < 300)); do false; ((i++)); done
echo $i
for i in 1 2; do false && true; done; echo $?
==functions
f() { local x=$1; false; echo $x $# ${FUNCNAME[*]}; }
set -- p q
f 1 2
echo $# $*
caller; echo $?
==background
false & wait $!; echo $?
{ false; true; } & wait; echo $?
==names
printf() { echo mine; }
mapfile() { echo mine; }
false
printf x
==no-shell-error
set -o errexit
false || true
! true
false && true
echo end
readonly x=1
x=2
echo no
"""
SCRIPTS = {
    name: text for name, _, text in (part.partition("\n") for part in KINDS.split("\n==")[1:])
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shell", BASHES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_notices_the_record(
    script: str, shell: str, options: str, tmp_path: Path
) -> None:
    bash = [program(BASHES[shell][0]), *OPTIONS[options]]
    text = SCRIPTS[script]

    def run(name: str, **environment: str) -> tuple[int, str, list[str]]:
        place, record = tmp_path / name, tmp_path / "record"
        place.mkdir()
        record.mkdir(exist_ok=True)
        (place / "script").write_text(text)
        done = subprocess.run(
            [*bash, "./script"],
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = re.sub(
            r"\d+", "N", done.stderr
        )  # traces have PIDs, and parts of a pipe have no order
        return done.returncode, done.stdout, sorted(said.splitlines())

    inside = {} if "ERR" in text or "source" in text else {"DTP_RECORD_INSIDE": "yes"}
    watched = run(
        "watched",
        BASH_ENV=str(RUNNER / "commands.sh"),
        DTP_RECORD=str(tmp_path / "record"),
        **inside,
    )
    assert (tmp_path / "record" / "commands").exists()
    if script == "own-signals":  # `trap` lists what the record needs
        listed = [
            line for line in watched[1].splitlines() if "trap --" not in line or "USR1" in line
        ]
        watched = (
            watched[0],
            "".join(line + "\n" for line in listed if "dtp_" not in line),
            watched[2],
        )
    assert watched == run("unwatched")


def record(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "script").write_text(text)
    subprocess.run(
        [program("bash"), str(tmp_path / "script")],
        env={
            "PATH": "/usr/bin:/bin",
            "BASH_ENV": str(RUNNER / "commands.sh"),
            "DTP_RECORD": str(tmp_path),
            "DTP_RECORD_INSIDE": "yes",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    return (tmp_path / "commands").read_text().splitlines()


def test_the_record_names_commands_as_they_are_written(tmp_path: Path) -> None:
    script = "#!/bin/bash\nKEY=hunter2\nls /none/$KEY\nls /none | cat\nif ls /none; then :; fi\n"
    assert record(tmp_path, script) == ["2 3 1 2, ls /none/$KEY"]


def test_the_record_is_bounded(tmp_path: Path) -> None:
    long = "ls /none" + "/x" * 200
    rows = record(tmp_path, f"#!/bin/bash\nfor i in {{1..500}}; do {long}; ({long}; true); done\n")
    assert len(rows) == 40
    assert max(map(len, rows)) <= 120


@pytest.mark.parametrize(
    ("first", "begins"),
    [
        ("#!/bin/bash", ""),
        ("#!/usr/bin/env bash", ""),
        ("#!/bin/bash --login", ""),
        ("#!/bin/bash", "set -o pipefail\n"),
    ],
)
def test_a_command_that_failed_is_doubted(attempt: Attempt, first: str, begins: str) -> None:
    ended = attempt.script(f"{first}\n{begins}ls /none\necho x >new\n").run()
    line = 2 + bool(begins)
    (doubt,) = ended.result["doubts"]
    assert doubt.startswith(
        f"line {line}: `ls /none` ended with exit code 2, and the script went on"
    )
    assert ended.result["exit"] == 0


@pytest.mark.parametrize("first", ["#!/bin/bash\nset -euo pipefail", "#!/bin/bash -e\n"])
def test_what_ended_the_script_is_told(attempt: Attempt, first: str) -> None:
    ended = attempt.script(f"{first}\nls /none\necho not here >new\n").run()
    assert ended.result["cause"] == "line 3: `ls /none` ended with exit code 2"
    assert ended.result["program"] == "ls"
    assert ended.result["doubts"] == []


def test_a_script_that_traps_debug_is_not_watched(attempt: Attempt) -> None:
    text = "#!/bin/bash\ntrap 'echo at $LINENO' DEBUG\nls /none\ntrue\n"
    assert b"at 3\nls: cannot" in attempt.script(text).run().logged
    assert not (attempt.starts / "1" / "commands").exists()


@pytest.mark.parametrize("tidies", ['rm -rf "$TMPDIR"/*', 'rm -rf "$TMPDIR"', 'rm -rf "$HOME"'])
def test_a_script_that_tidies_up_keeps_the_record(attempt: Attempt, tidies: str) -> None:
    ended = attempt.script(f"#!/bin/bash\n{tidies}\nls /none\necho x >new\n").run()
    assert any("line 3: `ls /none`" in doubt for doubt in ended.result["doubts"])


def test_what_a_script_writes_into_the_record_does_no_harm(attempt: Attempt) -> None:
    lie = 'x"; $(touch /tmp/no) 9999999999 1 1,, \\ ] \\n'
    text = f"#!/bin/bash\nfor f in {attempt.state}/starts/1/*; do echo '{lie}' >$f; done\nexit 5\n"
    ended = attempt.script(text).run()
    assert (ended.code, ended.result["exit"]) == (5, 5)
    json.dumps(ended.termination)


def test_a_service_is_not_doubted(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/bash\nls /none\nsleep 60 &\n").run(DTP_KIND="service")
    assert ended.result["doubts"] == []


def test_agents_and_tunnels_are_no_work_that_was_lost(attempt: Attempt, tmp_path: Path) -> None:
    for name in ("gpg-agent", "ssh"):
        (tmp_path / name).write_bytes(Path(program("sleep")).read_bytes())
        (tmp_path / name).chmod(0o755)
    begun = f"{tmp_path}/gpg-agent 60 &\nexec -a 'ssh: /x [mux]' {tmp_path}/ssh 60 &\n"
    assert attempt.script(f"#!/bin/bash\n{begun}echo x >new\n").run().result["doubts"] == []


@pytest.mark.parametrize("network", ["yes", "no"])
def test_a_pod_that_moved_nothing_is_doubted_where_there_is_a_network(
    attempt: Attempt, network: str
) -> None:
    attempt.prefix = [
        program("unshare"),
        "--net",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ]
    ended = attempt.script("#!/bin/sh\necho all is well\n").run(DTP_NETWORK=network)
    told = [doubt for doubt in ended.result["doubts"] if "nothing was transferred" in doubt]
    assert len(told) == (network == "yes")


def test_in_a_pod_every_process_that_is_left_counts(attempt: Attempt) -> None:
    attempt.prefix = [program("unshare"), *AS_PID_1]
    begun = "env -i setsid sleep 60 >/dev/null 2>&1 &\nsleep 60 >/dev/null 2>&1 &\n"
    ended = attempt.script(f"#!/bin/bash\n{begun}echo x >new\n").run()
    assert ended.result["doubts"] == [
        "2 processes were still running and were ended (sleep): end the script with `wait`"
    ]
