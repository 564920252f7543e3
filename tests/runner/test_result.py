"""The result: valid whatever the script does, told last, with the memory killer's count."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtp_action.core import phases
from tests.runner.conftest import Attempt, Ended, program, until

FORGERY = """#!/bin/bash
for file in "{root}"/pod-1.termination "{state}"/result.json; do
  rm -rf "$file"; {what}
done
exit 7
"""


@pytest.mark.parametrize(
    "what", ["echo lie >$file", "ln -s /nowhere/x $file", "ln -s ../script $file", "true"]
)
def test_what_the_script_wrote_in_the_results_place_does_not_count(
    attempt: Attempt, what: str
) -> None:
    attempt.script(FORGERY.format(root=attempt.root, state=attempt.state, what=what))
    ended = attempt.run()
    assert (ended.code, ended.result["exit"]) == (7, 7)
    if "ln" not in what:
        assert ended.termination == ended.result


@pytest.mark.parametrize("what", ["mkdir $file", "mkfifo $file"])
def test_a_directory_or_a_pipe_in_the_results_place_does_not_hold_it(
    attempt: Attempt, what: str
) -> None:
    attempt.script(FORGERY.format(root=attempt.root, state=attempt.state, what=what))
    ended = attempt.run()
    assert (ended.code, ended.result["exit"]) == (7, 7)


def test_a_forged_end_is_replaced_by_the_true_one(attempt: Attempt) -> None:
    attempt.script(f"#!/bin/sh\nmkdir {attempt.starts}/1/end; exit 7")
    assert attempt.run().code == 7
    assert (attempt.starts / "1" / "end").read_text().startswith("7 done\n")
    assert attempt.run().code == 7


def test_a_state_that_became_unwritable_is_told_and_the_code_kept(attempt: Attempt) -> None:
    attempt.script(f"#!/bin/sh\nrm -rf {attempt.state}; touch {attempt.state}; exit 7")
    ended = attempt.run()
    assert (ended.code, ended.termination["exit"]) == (7, 7)
    assert "could not be recorded" in ended.termination["warnings"][-1]


def test_it_stays_short_whatever_there_is_to_warn_of(attempt: Attempt) -> None:
    for number in range(9):
        attempt.secret(f"DTP_{number}_" + "X" * 200, b"x")
    ended = attempt.script("#!/bin/sh\nrm foo.log; exit 195").run()
    assert len(ended.termination["warnings"]) == 5


def test_it_is_read_as_it_is_meant(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\nexit 199").run()
    note = phases.read_note((attempt.root / "pod-1.termination").read_text())
    assert (note.starts, note.error, len(note.warnings)) == (1, "", 1)


def test_a_missing_termination_file_is_no_reason_to_fail(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nexit 7").run(DTP_TERMINATION="/proc/none/x")
    assert (ended.code, ended.result["exit"]) == (7, 7)


# --- memory ---

# The cgroup that a container sees is its own; here a directory stands in for it.
WITH_CGROUP = 'mount --bind "$1" /sys/fs/cgroup; shift; exec "$@"'


def with_cgroup(attempt: Attempt, file: str, before: str, after: str) -> Ended:
    folder = attempt.root / "cgroup"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text(before)
    attempt.prefix = [program("unshare"), "--mount", "sh", "-c", WITH_CGROUP, "sh", str(folder)]
    attempt.script(f"#!/bin/sh\nprintf '{after}' >/sys/fs/cgroup/{file}; exit 137")
    return attempt.run()


def test_kills_are_counted_with_cgroup_v2(attempt: Attempt) -> None:
    text = "low 0\nhigh 0\nmax 9\noom 5\noom_kill {}\noom_group_kill 0\n"
    ended = with_cgroup(attempt, "memory.events", text.format(2), text.format(5))
    assert ended.result["oom_kills"] == 3


def test_kills_are_counted_with_cgroup_v1(attempt: Attempt) -> None:
    text = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
    ended = with_cgroup(attempt, "memory/memory.oom_control", text.format(0), text.format(1))
    assert ended.result["oom_kills"] == 1


def test_kills_that_cannot_be_counted_are_null(attempt: Attempt) -> None:
    ended = with_cgroup(attempt, "other", "", "")
    assert ended.result["oom_kills"] is None


def test_where_memory_runs_out_the_script_goes_before_the_runner(attempt: Attempt) -> None:
    script = "#!/bin/sh\ncat /proc/self/oom_score_adj\ncat /proc/$PPID/oom_score_adj\n"
    ended = attempt.script(script).run()
    own, runners = map(int, ended.lines[:2])
    assert own == min(runners + 100, 1000)


V1 = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(not (V1 / "cgroup.procs").exists(), reason="this machine has cgroup v2")
def test_a_real_kill_for_memory_is_counted_and_the_result_written(attempt: Attempt) -> None:
    group = V1 / f"dtp-test-{os.getpid()}-{attempt.shell[0][-4:]}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text("33554432")
        enter = f'echo $$ >{group}/cgroup.procs; mount --bind {group} {V1}; exec "$@"'
        attempt.prefix = [program("unshare"), "--mount", "sh", "-c", enter, "sh"]
        attempt.script('#!/bin/bash\nx=$(head -c 300000000 /dev/zero | tr "\\0" x); echo $?')
        ended = attempt.run()
        assert ended.result.get("oom_kills", 0) >= 1, ended
        assert ended.code in (0, 137)
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
