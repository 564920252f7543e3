"""What arrived: files and bytes by the file system's own clock, and the list of their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.runner.conftest import IDENTITY, RUNNER, Attempt, Ended, until

ODD = ("a b", "-n", "* x", "quote'\"", "back\\slash", "two\nlines", "return\rhere", "é", "\\\n\r\\")
MANY = 100_000


def told(ended: Ended) -> tuple[int | None, int | None, bool]:
    assert ended.termination == ended.result
    return ended.result["files"], ended.result["bytes"], ended.result["counted"]


def fill(folder: Path, number: int) -> None:
    """Make many files in no time: all but one are further names of it."""
    (folder / "0").write_bytes(b"x")
    for n in range(1, number):
        os.link(folder / str(n // 50_000 * 50_000), folder / str(n)) if n % 50_000 else (
            folder / str(n)
        ).write_bytes(b"x")


# --- what counts ---


def test_files_count_whatever_times_a_tool_gives_them(attempt: Attempt) -> None:
    (attempt.directory / "old").write_text("was here before")
    ended = attempt.script("#!/bin/sh\nmkdir d; echo x >d/new; touch -d 2001-01-01 d/new d").run()
    assert told(ended) == (1, 2, True)


def test_what_was_replaced_extended_or_moved_here_counts(attempt: Attempt) -> None:
    for name in ("kept", "replaced", "extended"):
        (attempt.directory / name).write_text("12345")
    (attempt.root / "elsewhere").write_text("1234567")
    attempt.script("#!/bin/sh\necho 1 >new; mv new replaced; echo 6 >>extended; mv ../elsewhere .")
    assert told(attempt.run()) == (3, 2 + 7 + 7, True)


def test_links_pipes_folders_the_log_and_our_own_files_do_not_count(attempt: Attempt) -> None:
    (attempt.root / "elsewhere").mkdir()
    attempt.script(
        "#!/bin/sh\necho 1 >.dtp/x; ln -s .dtp/x link; ln -s ../elsewhere folder\n"
        "echo 1 >folder/y; mkdir d; mkfifo pipe; echo much to say; echo one >d/foo.log"
    )
    assert told(attempt.run()) == (1, 4, True)


def test_an_empty_directory_was_counted_whole(attempt: Attempt) -> None:
    assert told(attempt.script("#!/bin/sh\necho sent it all").run()) == (0, 0, True)


def test_a_pipe_in_the_place_of_our_figures_blocks_nobody(attempt: Attempt) -> None:
    attempt.script('#!/bin/sh\necho x >y; mkfifo "${DTP_PROGRESS_FILE%/*}/count"')
    assert told(attempt.run(DTP_WALK="5")) == (1, 2, True)


def test_another_file_system_below_does_not_count(attempt: Attempt) -> None:
    place = attempt.directory / "other"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        assert told(attempt.script("#!/bin/sh\necho 1 >other/x; echo 2 >y").run()) == (1, 2, True)
    finally:
        subprocess.run(["umount", place], check=True)


def test_names_of_any_kind_count_once(attempt: Attempt) -> None:
    (attempt.root / "odd").mkdir()
    for name in ODD:
        (attempt.root / "odd" / name).write_text("xyz")
    ended = attempt.script("#!/bin/sh\ncp -R ../odd .").run()
    assert told(ended) == (len(ODD), 3 * len(ODD), True)


def test_sizes_are_told_exactly(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nfor n in 1 2 3; do truncate -s 4398046511105 $n; done").run()
    assert told(ended) == (3, 3 * 4398046511105, True)


def test_a_failed_script_is_told_what_it_left(attempt: Attempt) -> None:
    assert told(attempt.script("#!/bin/sh\necho half >part; exit 7").run()) == (1, 5, True)


def test_an_attempts_first_start_is_where_counting_begins(attempt: Attempt) -> None:
    attempt.script('#!/bin/sh\necho x >"made-$DTP_START"; exit 75')
    wish = {"DTP_RETRIES": "1", "DTP_TRANSIENT": "75"}
    assert [told(attempt.run(**wish))[0] for _ in range(2)] == [1, 2]


def test_another_attempt_begins_anew(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho x >first").run()
    again = Attempt(shell=attempt.shell, root=attempt.root)
    again.pods = 1
    state = attempt.root / "state-2"
    state.mkdir()
    (state / "entry").write_text(IDENTITY)
    again.script("#!/bin/sh\necho second >second")
    ended = again.run(DTP_STATE=str(state), DTP_ATTEMPT="2")
    assert (ended.termination["files"], ended.termination["bytes"]) == (1, 7)


def test_a_start_that_died_before_it_wrote_anything_is_passed_over(attempt: Attempt) -> None:
    (attempt.starts / "1").mkdir(parents=True)
    ended = attempt.script("#!/bin/sh\necho x >y").run(DTP_RESUME="yes")
    assert (told(ended), ended.result["start"]) == ((1, 2, True), 2)


def test_a_script_that_removed_the_record_is_told_no_figures(attempt: Attempt) -> None:
    attempt.script(f'#!/bin/sh\necho x >y; rm -rf "{attempt.starts}"')
    ended = attempt.run(DTP_MANIFEST="sha256")
    assert (told(ended), ended.result["manifest"]) == ((None, None, False), None)
    no_count, no_list = ended.result["warnings"]
    assert "could not be counted: the script removed the runner's record" in no_count
    assert "no list of checksums was written" in no_list


def test_a_script_that_removed_its_directory_is_told_no_figures(attempt: Attempt) -> None:
    ended = attempt.script('#!/bin/sh\nrm -rf "$DTP_DIRECTORY"').run(DTP_MANIFEST="sha256")
    assert (ended.code, told(ended), ended.result["manifest"]) == (0, (None, None, False), None)


def test_a_replay_tells_the_same(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho x >y; exit 7")
    first, second = (attempt.run(DTP_MANIFEST="sha256") for _ in range(2))
    assert second.result == first.result | {"replayed": True}
    assert told(second) == (1, 2, True)
    assert len(second.result["manifest"]) == 64


def test_files_too_deep_to_be_reached_are_no_reason_to_say_less_than_the_truth(
    attempt: Attempt,
) -> None:
    attempt.script(
        "#!/usr/bin/env python3\nimport os\nopen('y', 'w').write('x')\n"
        "for n in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)\nopen('z', 'w').write('x')"
    )
    try:
        ended = attempt.run(DTP_MANIFEST="sha256")
        assert told(ended) == (1, 1, False)
        assert ended.result["manifest"] is None
        assert "no list of checksums was written" in ended.result["warnings"][0]
    finally:  # pytest's own removal of it takes minutes
        subprocess.run(["rm", "-rf", attempt.directory], check=True)


# --- when it takes long ---


def walkers(attempt: Attempt) -> list[int]:
    """Processes of the session in which the runner looks at what arrived."""
    found: list[tuple[int, int, bool]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() != attempt.directory:
                continue
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            ours = b"arrived.sh" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        found.append((int(folder.name), session, ours))
    sessions = {session for _, session, ours in found if ours}
    return [pid for pid, session, _ in found if session in sessions]


def stuck(attempt: Attempt, **environment: str) -> subprocess.Popen[bytes]:
    """Begin an attempt whose walk sees some files, and then stands still as on a dead server."""
    fill(attempt.directory, MANY)
    attempt.script("#!/bin/sh\nfind . -type f | xargs touch -m -d 2001-01-01; exit 3")
    process = attempt.begin(**environment)
    count = attempt.root / "tmp" / ".dtp-pod-1" / "count"
    until(lambda: count.exists() and count.stat().st_size)
    for pid in walkers(attempt):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return process


def test_a_walk_that_takes_too_long_is_cut_and_told_as_at_least(attempt: Attempt) -> None:
    process = stuck(attempt, DTP_WALK="3")
    began = time.monotonic()
    ended = attempt.end(process)
    assert time.monotonic() - began < 30  # and not the minute that a walk has else
    files, size, counted = told(ended)
    assert (ended.code, counted, ended.result["warnings"]) == (3, False, [])
    assert files == size
    assert 256 <= (files or 0) < MANY
    # It counts as little as anything else against the beat, by which others see that it lives.
    assert ended.stdout.count(b"dtp-heartbeat: ") >= 4
    assert not walkers(attempt)


def test_after_term_the_walk_has_three_seconds(attempt: Attempt) -> None:
    process = stuck(attempt)
    process.terminate()
    began = time.monotonic()
    ended = attempt.end(process)
    assert time.monotonic() - began < 30  # and not the minute that a walk has else
    assert (ended.code, told(ended)[2]) == (3, False)
    assert (attempt.starts / "1" / "end").read_text().startswith("3 done\n")
    assert not walkers(attempt)


def test_a_script_that_was_ended_is_told_what_it_left(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho half >part; echo ready; sleep 60")
    process = attempt.begin(DTP_MANIFEST="sha256")
    until(lambda: attempt.log.exists() and b"ready" in attempt.log.read_bytes())
    process.terminate()
    ended = attempt.end(process)
    assert (ended.code, told(ended), ended.result["manifest"]) == (143, (1, 5, True), None)
    assert "there was no time left" in ended.result["warnings"][0]


def test_as_pid_1_it_is_the_same(pod: Attempt) -> None:
    (pod.directory / "old").write_text("x")
    pod.script("#!/bin/bash\necho 12 >new; setsid sleep 60 </dev/null >/dev/null 2>&1 & exit 3")
    ended = pod.run(DTP_MANIFEST="sha256")
    assert (ended.code, told(ended)) == (3, (1, 3, True))
    assert checked(pod, ended) == ["./new"]


V1 = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(not (V1 / "cgroup.procs").exists(), reason="this machine has cgroup v2")
def test_a_small_limit_of_memory_suffices_for_many_files(attempt: Attempt) -> None:
    group = V1 / f"dtp-many-{os.getpid()}-{attempt.shell[0][-4:]}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text("67108864")
        attempt.prefix = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
        attempt.script(
            "#!/usr/bin/env python3\nimport os\nopen('0', 'w').write('x')\n"
            "for n in range(20_000): os.link('0', f'{n:0100}')"
        )
        ended = attempt.run(DTP_MANIFEST="sha256")
        assert told(ended) == (20_001, 20_001, True)
        assert ended.result["manifest"]
        assert "oom_kill 0" in (group / "memory.oom_control").read_text()
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


# --- the list of checksums ---


def listed(attempt: Attempt, number: int = 1) -> Path:
    return attempt.directory / ".dtp" / f"manifest-{number}.sha256"


def checked(attempt: Attempt, ended: Ended) -> list[str]:
    """Return the names in the list, all of which sha256sum finds as they should be."""
    content = listed(attempt).read_bytes()
    assert ended.result["manifest"] == hashlib.sha256(content).hexdigest()
    check = ["sha256sum", "--check", "--strict", "--quiet", str(listed(attempt))]
    subprocess.run(check, cwd=attempt.directory, check=True)
    return [line[64:].lstrip("\\").strip() for line in content.decode().splitlines()]


def test_the_list_is_what_sha256sum_reads(attempt: Attempt) -> None:
    (attempt.directory / "old").write_text("was here before")
    (attempt.root / "odd").mkdir()
    for name in ODD:
        (attempt.root / "odd" / name).write_text(f"content of {name}")
    attempt.script("#!/bin/sh\nmkdir 'a\nb'; mv ../odd/* 'a\nb'; echo x >plain")
    ended = attempt.run(DTP_MANIFEST="sha256")
    assert (ended.code, ended.result["warnings"]) == (0, [])
    assert len(checked(attempt, ended)) == ended.result["files"] == len(ODD) + 1
    (attempt.directory / "a\nb" / ODD[-1]).write_text("changed")
    with pytest.raises(subprocess.CalledProcessError):
        checked(attempt, ended)


def test_each_shell_and_tool_lists_the_same(attempt: Attempt) -> None:
    """The runner calls `sh`; here each shell reads the names itself, in busybox with its tools."""
    for name in ODD:
        (attempt.directory / name).write_text(name)
    argv = [*attempt.shell, str(RUNNER / "arrived.sh")]
    since = ["2001-01-01 00:00:00.000000000", "foo.log"]
    shell = attempt.shell
    done = subprocess.run(
        [*argv, "list", *since, *shell], cwd=attempt.directory, capture_output=True, check=True
    )
    check = ["sha256sum", "--check", "--strict"]
    subprocess.run(check, cwd=attempt.directory, input=done.stdout, check=True)
    assert done.stdout.count(b"\n") == len(ODD)
    count = subprocess.run(
        [*argv, "count", *since], cwd=attempt.directory, capture_output=True, check=True
    )
    size = sum(len(name.encode()) for name in ODD)
    figures, newest, whole = count.stdout.decode().splitlines()
    assert (figures, whole) == (f"{len(ODD)} {size}", "whole")
    listed = json.loads(newest.removeprefix("newest "))
    shown = {name.replace("\n", "?").replace("\r", "?") for name in ODD}
    assert ({name for name, _ in listed["files"]}, listed["more"]) == (shown, 0)
    later = ["2999-01-01 00:00:00", "foo.log"]
    none = subprocess.run(
        [*argv, "list", *later, *shell], cwd=attempt.directory, capture_output=True, check=True
    )
    assert none.stdout == b""


def test_a_list_of_nothing_is_empty(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\n").run(DTP_MANIFEST="sha256")
    assert ended.result["manifest"] == hashlib.sha256(b"").hexdigest()
    assert listed(attempt).read_bytes() == b""


def test_without_being_asked_none_is_written(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho x >y").run()
    assert ended.result["manifest"] is None
    assert [path.name for path in (attempt.directory / ".dtp").iterdir()] == ["owner"]


def test_a_failed_script_gets_a_list_of_what_is_there(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho half >part; exit 7").run(DTP_MANIFEST="sha256")
    assert (ended.code, checked(attempt, ended)) == (7, ["./part"])


def test_before_a_further_start_none_is_written(attempt: Attempt) -> None:
    attempt.script('#!/bin/sh\necho x >"made-$DTP_START"; exit 75')
    wish = {"DTP_RETRIES": "1", "DTP_TRANSIENT": "75", "DTP_MANIFEST": "sha256"}
    first = attempt.run(**wish)
    assert (first.result["manifest"], first.result["warnings"]) == (None, [])
    assert len(checked(attempt, attempt.run(**wish))) == 2


@pytest.mark.parametrize("what", ["mkdir -p {}/x", "ln -s ../../mine {}", "ln -s /nowhere/x {}"])
def test_what_stands_in_the_lists_place_is_replaced(attempt: Attempt, what: str) -> None:
    (attempt.root / "mine").write_text("mine")
    attempt.script(f"#!/bin/sh\n{what.format('.dtp/manifest-1.sha256')}; echo x >y")
    ended = attempt.run(DTP_MANIFEST="sha256")
    assert checked(attempt, ended) == ["./y"]
    assert not listed(attempt).is_symlink()
    assert (attempt.root / "mine").read_text() == "mine"


def test_it_is_never_written_elsewhere(attempt: Attempt) -> None:
    (attempt.root / "elsewhere").mkdir()
    attempt.script("#!/bin/sh\nrm -rf .dtp; ln -s ../elsewhere .dtp; echo x >y")
    ended = attempt.run(DTP_MANIFEST="sha256")
    assert (ended.code, ended.result["manifest"]) == (0, None)
    assert not list((attempt.root / "elsewhere").iterdir())


def test_a_full_claim_gets_no_list_rather_than_half_of_it(attempt: Attempt) -> None:
    size = "size=256k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", attempt.directory], check=True)
    attempt.script(
        "#!/bin/sh\nfor n in $(seq 2000); do :>$n; done; head -c 1M /dev/zero >big; exit 3"
    )
    ended = attempt.run(DTP_MANIFEST="sha256")
    assert (ended.code, ended.result["files"], ended.result["manifest"]) == (3, 2001, None)
    assert any("the list not be kept" in warning for warning in ended.result["warnings"])
    assert [path.name for path in (attempt.directory / ".dtp").iterdir()] == ["owner"]


def test_term_ends_a_long_list_at_once(attempt: Attempt) -> None:
    process = attempt.script("#!/bin/sh\ntruncate -s 1T big").begin(DTP_MANIFEST="sha256")
    until((attempt.directory / ".dtp/manifest-1.sha256.pod-1").exists)
    writing = b'"progress":"writing the list of checksums"'
    until(lambda: writing in (attempt.root / "pod-1.out").read_bytes())
    process.terminate()
    began = time.monotonic()
    ended = attempt.end(process)
    assert time.monotonic() - began < 30  # and not the hour that its file takes
    assert (ended.code, ended.result["manifest"]) == (0, None)
    assert "there was no time left" in ended.result["warnings"][0]
    assert [path.name for path in (attempt.directory / ".dtp").iterdir()] == ["owner"]
    assert not walkers(attempt)


def test_another_kind_of_list_is_190(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho no").run(DTP_MANIFEST="md5")
    assert (ended.code, ended.log) == (190, b"")


def test_the_result_stays_short_with_all_there_is_to_tell(attempt: Attempt) -> None:
    for number in range(9):
        attempt.secret(f"DTP_{number}_" + "X" * 200, b"x")
    attempt.script("#!/bin/sh\ntruncate -s 1125899906842624 /dev/null x || :; rm foo.log; exit 195")
    ended = attempt.run(DTP_MANIFEST="none")  # its length is checked wherever it is read
    assert len(ended.termination["warnings"]) == 5
