"""What becomes of an attempt when somebody takes its Pod or its Job away."""

from __future__ import annotations

from tests.admin import wait_for
from tests.e2e.site import SOURCE, Site, Watch
from tests.e2e.test_once import killed
from tests.faults import Fault, Kind

REF = "dtp-local/long"
LONG = """\
#!/bin/bash
echo "start $DTP_START"
echo "$DTP_START" >>starts
[ -e finish ] || for i in $(seq 300); do sleep 1; done
"""
RESUMES = LONG.replace("#!/bin/bash\n", "#!/bin/bash\n#DTP resume=yes\n")


def test_a_drained_node_is_told_and_nothing_runs_again(site: Site, watch: Watch) -> None:
    name = _begin(site, LONG)

    site.evict(name)

    watch.start()
    ended = site.dispatch_until(REF, "ERRORED")
    watch.told("drained, no resume", ended)
    assert ended["reason"].startswith("its node was drained or lost")
    assert site.has_come_to_rest()
    assert _starts(site) == ["1"]


def test_a_drained_attempt_starts_once_more_where_its_author_said_that_it_can(
    site: Site, watch: Watch
) -> None:
    name = _begin(site, RESUMES)
    (site.place(REF) / "finish").touch()

    site.evict(name)

    watch.start()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("drained, resume=yes", ended)
    assert ended["attempt"] == 1
    assert _starts(site) == ["1", "2"]
    assert site.starts(name) == ["1", "2"]


def test_a_pod_killed_without_grace_is_resumed_only_after_its_fence_fell_silent(
    site: Site, watch: Watch, patience: float
) -> None:
    name = _begin(site, RESUMES.replace("[ -e", "trap '' TERM\n[ -e"))
    (site.place(REF) / "finish").touch()

    site.evict(name, gracePeriodSeconds=0)

    watch.start()
    ended = site.dispatch_until(REF, "SUCCEEDED", seconds=patience)
    watch.told("drained without grace, resume=yes", ended)
    assert _starts(site) == ["1", "2"]


def test_a_pod_deleted_by_hand_is_told_and_nothing_runs_again(site: Site, watch: Watch) -> None:
    name = _begin(site, LONG)

    site.delete_pod(name)

    watch.start()
    ended = site.dispatch_until(REF, "ERRORED")
    watch.told("Pod deleted", ended)
    # Which it is depends on whether the Pod was still seen on its way out.
    assert ended["reason"] in (
        "it was removed from the cluster while it ran (exit 143)",
        "terminated (exit 143), by whom cannot be told",
    )
    assert site.has_come_to_rest()
    assert _starts(site) == ["1"]


def test_a_pod_gone_before_it_was_read_still_has_its_exit_code_told(
    site: Site, watch: Watch
) -> None:
    site.merge(long="#!/bin/bash\nexit 7\n", fine="#!/bin/bash\necho hello\n")
    site.dispatch()
    names = {ref: row["name"] for ref, row in site.status().items()}
    for name in names.values():
        _lose_pod(site, name)

    watch.start()
    rows = site.dispatch(wait=True).rows

    watch.told("Pod gone after exit 7", rows[REF])
    watch.told("Pod gone after exit 0", rows["dtp-local/fine"])
    assert (rows[REF]["phase"], rows[REF]["exit_code"]) == ("FAILED", 7)
    assert rows["dtp-local/fine"]["phase"] == "SUCCEEDED"
    for row in rows.values():
        assert "it was gone before it could be read: no log, no bytes" in row["warnings"]


def test_a_job_deleted_while_it_runs_is_lost_and_never_runs_again_by_itself(
    site: Site, watch: Watch
) -> None:
    name = _begin(site, LONG)
    site.dispatch()

    site.delete_job(name)

    watch.start()
    lost = site.dispatch().rows[REF]
    watch.told("Job deleted", lost)
    assert lost["phase"] == "LOST"
    site.merge(long=LONG + "# edited\n")
    again = site.dispatch()
    assert [action for _, action in again.actions] == ["hold"]
    assert again.rows[REF]["attempt"] == 1
    assert _starts(site) == ["1"]


def test_a_job_deleted_before_it_was_confirmed_is_made_again_and_its_fence_holds(
    site: Site, watch: Watch
) -> None:
    name = _begin_unconfirmed(site, LONG)
    wait_for(lambda: _starts(site), "the script to have begun")

    site.delete_job(name)

    watch.start()
    ended = site.dispatch_until(REF, "ERRORED")
    watch.told("Job deleted before it was confirmed, running", ended)
    assert ended["reason"] == "terminated in an earlier start (exit 143), by whom cannot be told"
    assert _starts(site) == ["1"]


def test_a_job_deleted_after_its_end_and_before_it_was_confirmed_has_its_result_told_again(
    site: Site, watch: Watch
) -> None:
    name = _begin_unconfirmed(site, "#!/bin/bash\necho once >>starts\nexit 7\n")
    wait_for(lambda: _ended(site, name), "the Job to end")

    site.delete_job(name)

    watch.start()
    ended = site.dispatch(wait=True).rows[REF]
    watch.told("Job deleted before it was confirmed, ended", ended)
    assert (ended["phase"], ended["exit_code"]) == ("FAILED", 7)
    assert _starts(site) == ["once"]


def _begin(site: Site, script: str) -> str:
    """Dispatch the one script and wait until it runs; return the attempt's name."""
    site.merge(long=script)
    site.dispatch()
    name = str(site.until(REF, "RUNNING")["name"])
    wait_for(lambda: _starts(site), "the script to have begun")
    return name


def _begin_unconfirmed(site: Site, script: str) -> str:
    """Let a dispatcher die between making the Job and noting that; return the attempt's name."""
    site.commit("nothing yet")
    site.dispatch()
    site.merge(long=script)
    # The card, the entry and the Job are written, its confirmation is not.
    fault = Fault(kind=Kind.BEFORE, at=4, writes_only=True, lasting=True)
    assert killed(site, fault, "dispatch", "--source", SOURCE) == 1
    (job,) = site.admin.list("Job", site.namespace.name)
    return str(job["metadata"]["name"])


def _lose_pod(site: Site, name: str) -> None:
    """Let a Job end, then take its Pod away."""
    wait_for(lambda: _ended(site, name), f"the Job {name} to end")
    site.delete_pod(name)
    wait_for(lambda: not site.pods(name), f"the Pod of {name} to go")


def _starts(site: Site) -> list[str]:
    """Return what the script itself wrote, a line for each time it ran."""
    path = site.place(REF) / "starts"
    return path.read_text().split() if path.exists() else []


def _ended(site: Site, name: str) -> bool:
    job = site.admin.get("Job", name, site.namespace.name)
    conditions = job.get("status", {}).get("conditions", [])
    return any(condition["type"] in ("Complete", "Failed") for condition in conditions)
