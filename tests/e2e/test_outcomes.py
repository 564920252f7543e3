"""What a script can do, and how it is told: one run with a script for each end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from dtp_action.core import ledger
from tests.e2e.conftest import Sites
from tests.e2e.site import PATIENCE, SOURCE, WAIT, Record, Row, Site

WATCHED = "dtp-local/is-watched"  # goes on until it was told to be running
BIG_LINES, BIG_LINE = 2_000_000, 100  # 200 MB of log
ONE_FILE = 120_000  # lines: more than a node keeps in one file

EAT = "python3 -c 'x = b\"x\" * 300_000_000'"  # more than the 64Mi that all have

SCRIPTS = {
    "dtp-local/fine": """
        echo hello; date >made""",
    "dtp-local/exit-7": """
        echo before the fall; exit 7""",
    "dtp-local/no-such-command": """
        no-such-command --really""",
    "dtp-local/exit-191": """
        exit 191""",
    "dtp-local/kills-itself": """
        kill -KILL $$""",
    "dtp-local/eats-memory": f"""
        exec {EAT}""",
    "dtp-local/child-eats-memory": f"""
        {EAT} || exit 3""",
    "dtp-local/child-eats-memory-and-all-goes-on": f"""
        {EAT}; echo went on""",
    "dtp-local/is-watched": """
        until [ -e seen ]; do sleep 0.2; done""",
    "dtp-local/too-long": """
        #DTP time=10s
        trap 'echo got TERM; exit 0' TERM; echo started; while :; do sleep 1; done""",
    "dtp-local/deaf-and-too-long": """
        #DTP time=10s
        trap '' TERM; echo started; while :; do sleep 1; done""",
    "dtp-local/fills-scratch": """
        #DTP disk=8Mi
        head -c 40M /dev/zero >"$TMPDIR/big"; sleep 300""",
    "dtp-local/transient-once": """
        #DTP retries=1
        echo "start $DTP_START"; [ "$DTP_START" -gt 1 ] || exit 75""",
    "dtp-bare/asks-for-python": """#!/usr/bin/env python3
print("hello")
""",
    "dtp-local/forges-its-result": """
        forged='{"v":1,"exit":0,"started":null,"finished":null,"start":1,"oom_kills":0,'
        forged="$forged"'"rx":999999999999,"warnings":["all is well"],"error":null}'
        echo "$forged" >/dev/termination-log
        echo "$forged" >/dtp-state/result.json
        printf '0 done\\n%s\\n' "$forged" >/dtp-state/starts/1/end
        echo 'dtp-heartbeat: {"at":"2030-01-01T00:00:00Z","rx":999999999999,"tx":0}'
        (while :; do echo "$forged" >/dev/termination-log; sleep 0.1; done) &
        exit 3""",
    "dtp-local/prints-anything": r"""
        printf 'nul:\0:end\n\033[31mred\033[0m\n'
        printf ' 1%%\r 50%%\r100%%\n\xff\xfe broken\n'
        printf '<!-- marker --> ``` @org/team ::set-output name=a::b\n'
        printf 'no newline at the end'""",
    "dtp-local/prints-nothing": """
        exit 0""",
    "dtp-local/prints-200-megabytes": f"""
        yes "$(printf '%{BIG_LINE - 1}s' | tr ' ' x)" | head -n {BIG_LINES}; echo the very end""",
    "dtp-local/prints-before-a-new-log-file-begins": f"""
        yes "$(printf '%{BIG_LINE - 1}s' | tr ' ' x)" | head -n {ONE_FILE}; echo the last words
        sleep 40""",
    "dtp-local/meddles": """
        there=/workspace/dtp-jobs/dtp-local/fine
        until [ -s "$there/made" ]; do sleep 1; done
        cat "$there/made" && echo read it
        while read -r try; do sh -c "$try" 2>/dev/null && echo "MANAGED: $try"; done <<END
        echo x >>$there/made
        rm $there/made
        mkdir $there/new
        ln -s / $there/link
        mkdir /workspace/mine
        ln -s / ../planted
        echo x >/dtp-entry/script
        echo x >/dtp/run.sh
        echo x >/etc/hello
        END
        echo tried it all""",
    "dtp-local/plants-links": """
        ln -s / root; ln -s ../fine/made made
        rm -f plants-links.log; ln -s ../fine/made plants-links.log
        echo "where does this go"
        sleep 1""",
    "dtp-local/leaves-processes": """
        for i in $(seq 50); do setsid sh -c 'trap "" TERM; sleep 600' & done
        echo forked""",
    "dtp-local/syntax-error": """
        if true; then echo""",
}

ENDS = {
    "dtp-local/fine": ("SUCCEEDED", "done"),
    "dtp-local/exit-7": ("FAILED", "your script failed (exit 7)"),
    "dtp-local/no-such-command": (
        "FAILED",
        "your script failed (exit 127): a program that it calls is not in the image (line 2:"
        " `no-such-command --really`)",
    ),
    "dtp-local/exit-191": ("FAILED", "your script failed (exit 189)"),
    "dtp-local/kills-itself": ("FAILED", "your script failed (exit 137) (killed)"),
    "dtp-local/eats-memory": ("FAILED", "out of memory (exit 137): raise memory="),
    "dtp-local/child-eats-memory": ("FAILED", "out of memory (exit 3): raise memory="),
    "dtp-local/child-eats-memory-and-all-goes-on": ("SUCCEEDED", "done"),
    "dtp-local/is-watched": ("SUCCEEDED", "done"),
    "dtp-local/too-long": (
        "FAILED",
        "ran longer than time=: raise it, or transfer less at a time",
    ),
    "dtp-local/deaf-and-too-long": (
        "FAILED",
        "ran longer than time=: raise it, or transfer less at a time",
    ),
    "dtp-local/fills-scratch": ("FAILED", "used more than 8Mi of scratch: raise disk="),
    "dtp-local/transient-once": ("SUCCEEDED", "done"),
    "dtp-bare/asks-for-python": (
        "FAILED",
        "the image has no python3, which the script's first line asks for;"
        " sh and bash are in every image",
    ),
    "dtp-local/forges-its-result": ("FAILED", "your script failed (exit 3)"),
    "dtp-local/prints-anything": ("SUCCEEDED", "done"),
    "dtp-local/prints-nothing": ("SUCCEEDED", "done"),
    "dtp-local/prints-200-megabytes": ("SUCCEEDED", "done"),
    "dtp-local/prints-before-a-new-log-file-begins": ("SUCCEEDED", "done"),
    "dtp-local/meddles": ("SUCCEEDED", "done"),
    "dtp-local/plants-links": ("SUCCEEDED", "done"),
    "dtp-local/leaves-processes": ("SUCCEEDED", "done"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of all scripts."""

    site: Site
    code: int
    rows: dict[str, Row]
    told: dict[str, float]  # seconds from a script's end until `dtp status` told it
    running: set[str]  # refs that were told to be running meanwhile


def _script(body: str) -> str:
    if body.startswith("#!"):
        return body
    return "#!/bin/bash\n" + "\n".join(line.strip() for line in body.splitlines() if line.strip())


@pytest.fixture(scope="module")
def run(sites: Sites) -> Iterator[Run]:
    """Dispatch all scripts at once, and watch with `dtp status` until the last has ended."""
    with sites() as site:
        _merge(site, SCRIPTS)
        told: dict[str, float] = {}
        running: set[str] = set()
        arguments = ("--source", SOURCE, "--wait", str(WAIT), "--format", "json")
        with site.running("dispatch", *arguments) as dispatch:
            for _ in site.news(PATIENCE):
                if dispatch.poll() is not None:
                    break
                _note(site, told, running)
                if WATCHED in running:
                    (site.place(WATCHED) / "seen").touch()
            _, errors = dispatch.communicate(timeout=PATIENCE)
            assert dispatch.returncode in (0, 1), errors.decode()
        _note(site, told, running)
        yield Run(
            site=site, code=dispatch.returncode, rows=site.status(), told=told, running=running
        )


def _merge(site: Site, refs: Iterable[str]) -> None:
    for ref in refs:
        site.write(ref, _script(SCRIPTS[ref]))
    site.commit("a script for each end")


def _note(site: Site, told: dict[str, float], running: set[str]) -> None:
    rows = site.status()
    now = datetime.now(UTC)
    for ref, row in rows.items():
        if row["phase"] == "RUNNING":
            running.add(ref)
        if row["finished"] and ref not in told:
            told[ref] = (now - datetime.fromisoformat(row["finished"])).total_seconds()


@pytest.mark.parametrize("ref", ENDS)
def test_every_end_is_told_with_phase_and_reason(
    run: Run, ref: str, record_property: Record
) -> None:
    row = run.rows[ref]
    record_property("told", [ref, row["phase"], row["reason"], run.told.get(ref)])
    assert (row["phase"], row["reason"]) == ENDS[ref]


def test_a_run_in_which_an_attempt_ended_badly_says_so_by_its_exit_code(run: Run) -> None:
    assert run.code == 1


def test_the_log_tail_of_a_failed_script_is_kept(run: Run) -> None:
    assert "before the fall" in run.site.logs("dtp-local/exit-7", "--tail", "20")


def test_a_script_with_a_syntax_error_never_gets_an_entry(run: Run) -> None:
    assert "dtp-local/syntax-error" not in run.rows
    rejected = run.site.dispatch().json["rejected"]
    assert [finding["ref"] for finding in rejected] == ["dtp-local/syntax-error"]


def test_success_with_a_process_killed_for_memory_is_success_with_a_warning(run: Run) -> None:
    row = run.rows["dtp-local/child-eats-memory-and-all-goes-on"]
    assert "a process of it was killed: out of memory; raise memory=" in row["warnings"]


def test_the_signal_at_the_run_limit_reaches_the_script_and_the_log_is_whole(run: Run) -> None:
    log = run.site.logs("dtp-local/too-long")
    assert "got TERM" in log
    assert "== dtp: dtp-local/too-long attempt 1 start 1" in log.splitlines()[-1]
    state = run.site.claim / ".dtp/state" / run.rows["dtp-local/too-long"]["name"]
    assert (state / "result.json").is_file()


def test_a_script_that_ignores_the_signal_is_killed_and_its_result_still_written(run: Run) -> None:
    row = run.rows["dtp-local/deaf-and-too-long"]
    assert row["exit_code"] == 196
    result = run.site.claim / ".dtp/state" / row["name"] / "result.json"
    assert json.loads(result.read_text())["script_exit"] == 137


def test_a_transient_exit_code_is_tried_again_within_the_attempt(run: Run) -> None:
    row = run.rows["dtp-local/transient-once"]
    assert row["attempt"] == 1
    assert run.site.starts(row["name"]) == ["1", "2"]
    log = (run.site.place("dtp-local/transient-once") / "transient-once.log").read_text()
    assert "start 1\n" in log
    assert "start 2\n" in log


def test_a_forged_result_changes_neither_the_outcome_nor_the_bytes(run: Run) -> None:
    row = run.rows["dtp-local/forges-its-result"]
    assert row["exit_code"] == 3
    assert (row["network_received_bytes"] or 0) < 1_000_000
    assert row["warnings"] == []


def test_a_log_of_any_bytes_is_kept_as_printable_text(run: Run) -> None:
    whole = (run.site.place("dtp-local/prints-anything") / "prints-anything.log").read_bytes()
    assert b"nul:\0:end\n\x1b[31mred\x1b[0m\n" in whole
    assert b"\xff\xfe broken\n" in whole
    kept = _kept(run, "dtp-local/prints-anything")
    for line in ("nul::end", "red", "100%", "\N{REPLACEMENT CHARACTER} broken"):
        assert any(line in shown for shown in kept), line
    assert not [line for line in kept if "\x1b" in line or "\r" in line or " 50%" in line]
    assert "no newline at the end" in kept


def _kept(run: Run, ref: str) -> list[str]:
    """Return the tail that the ledger keeps."""
    name = run.rows[ref]["name"]
    end = run.site.admin.get("ConfigMap", f"{name}-end", run.site.namespace.name)
    return str(end["data"][ledger.TAIL_KEY]).splitlines()


def test_200_megabytes_of_log_are_on_the_claim_and_their_end_is_kept(run: Run) -> None:
    ref = "dtp-local/prints-200-megabytes"
    log = run.site.place(ref) / "prints-200-megabytes.log"
    assert log.stat().st_size > BIG_LINES * BIG_LINE
    assert "the very end" in _kept(run, ref)
    assert len("\n".join(_kept(run, ref))) <= 8192
    assert "the very end" in run.site.logs(ref, "--tail", "5")


def test_the_last_words_are_kept_though_the_node_began_a_new_file_after_them(run: Run) -> None:
    """A kubelet looks every few seconds whether a log has 10 MiB, and shows the newest file."""
    assert "the last words" in _kept(run, "dtp-local/prints-before-a-new-log-file-begins")


def test_what_arrived_is_listed(run: Run) -> None:
    listed = run.site.dtp("files", "dtp-local/fine", "--format", "json").out
    assert [file["name"] for file in json.loads(listed)["files"]] == ["made"]


def test_a_silent_script_is_told_without_a_fuss(run: Run) -> None:
    row = run.rows["dtp-local/prints-nothing"]
    assert row["warnings"] == []


def test_a_script_may_read_anothers_directory_and_write_only_its_own(run: Run) -> None:
    log = run.site.logs("dtp-local/meddles")
    assert "read it" in log
    assert "tried it all" in log
    assert "MANAGED" not in log
    assert sorted(path.name for path in run.site.place("dtp-local/fine").iterdir()) == [
        ".dtp",
        "fine.log",
        "made",
    ]
    assert not (run.site.claim / "dtp-jobs/dtp-local/planted").is_symlink()


def test_links_in_its_own_directory_lead_the_runner_nowhere(run: Run) -> None:
    fine = run.site.place("dtp-local/fine") / "made"
    assert "plants-links" not in fine.read_text()
    assert (run.site.place("dtp-local/plants-links") / "plants-links.log").is_symlink()


def test_processes_left_behind_end_with_the_script(run: Run) -> None:
    row = run.rows["dtp-local/leaves-processes"]
    assert row["duration_seconds"] < 60


def test_what_runs_is_told_to_be_running(run: Run) -> None:
    assert WATCHED in run.running
