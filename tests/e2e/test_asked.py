"""Run again, cancel, replace: what people ask for by hand or by a commit."""

from __future__ import annotations

import os
from pathlib import Path

from tests.admin import wait_for
from tests.e2e.conftest import Sites
from tests.e2e.site import PATIENCE, Site, Watch

REF = "dtp-local/job"
FAILS = "#!/bin/bash\necho failing; exit 7\n"
WORKS = "#!/bin/bash\necho working\n"
LONG = "#!/bin/bash\necho begun; sleep 300\n"
DEAF = "#!/bin/bash\ntrap '' TERM\necho begun\nwhile :; do sleep 1; done\n"
HUGE = "#!/bin/bash\n#DTP memory=8Ti\necho huge\n"
CAPS = {"memory": "9Ti"}


def test_a_mended_script_runs_by_itself_and_an_edited_success_is_held(site: Site) -> None:
    site.merge(job=FAILS)
    assert _told(site) == (1, "FAILED")
    site.merge(job=WORKS)
    assert _told(site) == (2, "SUCCEEDED")
    site.merge(job=WORKS + "# edited\n")

    held = site.dispatch()

    assert held.actions == [(REF, "hold")]
    reason = held.json["actions"][0]["reason"]
    assert "dtp retry dtp-local/job, or the line #DTP attempt=3" in reason


def test_retry_runs_a_job_again_once_for_each_request(site: Site) -> None:
    site.merge(job=WORKS)
    assert _told(site) == (1, "SUCCEEDED")

    first = site.dtp("retry", REF, "--request", "comment-1", "--format", "json")
    again = site.dtp("retry", REF, "--request", "comment-1", "--format", "json")

    assert (first.code, first.actions) == (0, [(REF, "open")]), first.err
    assert (again.code, again.actions) == (0, []), again.err
    assert _told(site) == (2, "SUCCEEDED")
    late = site.dtp("retry", REF, "--request", "comment-1", "--format", "json")
    assert (late.code, late.actions) == (0, []), late.err
    log = (site.place(REF) / "job.log").read_text()
    assert log.count("working") == 2
    assert "attempt 2 start 1" in log


def test_another_attempt_can_be_asked_for_in_the_script(site: Site) -> None:
    site.merge(job=WORKS)
    assert _told(site) == (1, "SUCCEEDED")
    site.merge(job=WORKS.replace("\n", "\n#DTP attempt=5\n", 1))
    assert _told(site) == (5, "SUCCEEDED")
    assert site.dispatch().actions == []


def test_retry_is_refused_while_an_attempt_is_active(site: Site) -> None:
    site.merge(job=LONG)
    site.dispatch()
    site.until(REF, "RUNNING")
    refused = site.dtp("retry", REF)
    assert refused.code == 3
    assert "has not ended" in refused.err
    unknown = site.dtp("retry", "dtp-local/nobody")
    assert unknown.code == 2


def test_cancel_ends_a_running_script_and_says_who_asked(site: Site, watch: Watch) -> None:
    site.merge(job=LONG)
    site.dispatch()
    name = site.until(REF, "RUNNING")["name"]
    wait_for(lambda: "begun" in site.printed(name), "the script to have begun")

    watch.start()
    asked = site.dtp("cancel", REF, "--request", "comment-2", "--format", "json")
    again = site.dtp("cancel", REF, "--request", "comment-2", "--format", "json")
    assert (asked.code, asked.actions) == (0, [(REF, "end")]), asked.err
    assert (again.code, again.actions) == (0, []), again.err

    ended = site.dispatch_until(REF, "CANCELLED")

    watch.told("cancelled while running", ended)
    assert ended["reason"] == "cancelled by ada"
    assert "begun" in site.logs(REF)
    assert site.dtp("cancel", REF).code == 3


def test_a_script_that_ignores_the_signal_is_cancelled_all_the_same(
    site: Site, watch: Watch
) -> None:
    site.merge(job=DEAF)
    site.dispatch()
    site.until(REF, "RUNNING")
    watch.start()
    assert site.dtp("cancel", REF).code == 0
    ended = site.dispatch_until(REF, "CANCELLED")
    watch.told("cancelled, ignores TERM", ended)


def test_what_has_not_started_is_replaced_by_the_changed_script(sites: Sites, watch: Watch) -> None:
    with sites(caps=CAPS) as site:
        site.merge(job=HUGE)
        site.dispatch()
        site.until(REF, "WAITING", "no node has enough free memory")
        site.merge(job=WORKS)
        watch.start()

        done = site.dispatch(wait=True)

        watch.told("replaced before it started", done.rows[REF])
        assert (done.rows[REF]["attempt"], done.rows[REF]["phase"]) == (2, "SUCCEEDED")
        first = site.dtp("status", "--all", "--format", "json").json["jobs"][0]
        assert first["phase"] == "CANCELLED"
        assert first["reason"] == "replaced: the script changed before it started"


def test_what_left_the_branch_before_it_started_is_cancelled(sites: Sites, watch: Watch) -> None:
    with sites(caps=CAPS) as site:
        site.merge(job=HUGE)
        site.dispatch()
        site.until(REF, "WAITING", "no node has enough free memory")
        site.remove(REF)
        site.commit("not needed any more")
        watch.start()
        ended = site.dispatch_until(REF, "CANCELLED")
        watch.told("removed before it started", ended)
        assert ended["reason"] == "removed from the branch before it started"


def test_what_left_the_branch_while_it_runs_goes_on_and_says_so(site: Site) -> None:
    site.merge(job="#!/bin/bash\nuntil [ -e finish ]; do sleep 1; done\n")
    site.dispatch()
    site.until(REF, "RUNNING")
    site.remove(REF)
    site.commit("not needed any more")

    held = site.dispatch()

    assert (REF, "hold") in held.actions
    reasons = [row["reason"] for row in held.json["actions"]]
    assert "removed from the branch, yet goes on; to end it: dtp cancel dtp-local/job" in reasons
    Path(site.place(REF) / "finish").touch()
    assert site.dispatch_until(REF, "SUCCEEDED")["attempt"] == 1


def test_logs_can_be_followed_to_the_end(site: Site) -> None:
    site.merge(
        job="#!/bin/bash\necho line 1\nuntil [ -e finish ]; do sleep 0.2; done\necho line 2\n"
    )
    site.dispatch()
    site.until(REF, "RUNNING")
    with site.running("logs", REF, "--follow") as followed:
        assert followed.stdout
        begun = b""
        while b"line 1" not in begun:
            piece = os.read(followed.stdout.fileno(), 4096)
            assert piece, begun
            begun += piece
        (site.place(REF) / "finish").touch()
        rest, _ = followed.communicate(timeout=PATIENCE)
    assert followed.returncode == 0
    assert b"line 1\nline 2\n" in begun + rest
    assert b"dtp-heartbeat" not in begun + rest


def _told(site: Site) -> tuple[int, str]:
    row = site.dispatch(wait=True).rows[REF]
    return row["attempt"], row["phase"]
