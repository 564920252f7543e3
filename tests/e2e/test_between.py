"""Between runs and attempts: the newer commit rules; nothing runs beside what may still run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client import ApiException

from dtp_action.core import ledger, manifests
from tests.admin import PATHS, wait_for
from tests.e2e.site import SOURCE, WAIT, Row, Site, Watch
from tests.e2e.test_once import held_back, killed
from tests.faults import Fault, Kind

REF = "dtp-local/job"
SAYS = "#!/bin/bash\necho {} >>ran\n"
# A line when it begins and one when it ends: two that overlap would be seen.
LONG = "#!/bin/bash\necho begin >>ran\nuntil [ -e finish ]; do sleep 0.2; done\necho end >>ran\n"


def test_an_older_run_that_waits_undoes_nothing_of_a_newer_commit(site: Site, watch: Watch) -> None:
    with held_back(site):
        # `stays` is open throughout: the older run has something to wait for at each moment.
        old = {"gone": "withdrawn", "fixed": "old", "stays": "stays"}
        site.merge(**{job: SAYS.format(word) for job, word in old.items()})
        with site.running("dispatch", "--source", SOURCE, "--wait", str(WAIT)) as older:
            wait_for(lambda: len(_jobs(site)) == 3, "the older run's Jobs")
            site.remove("dtp-local/gone")
            site.merge(fixed=SAYS.format("new"), later=SAYS.format("later"))
            site.dispatch()
            site.dispatch_until("dtp-local/fixed", "WAITING", "handed|no node")
            assert older.poll() is None, "it still waits"

            newer = site.dispatch(wait=False).rows
            assert {row["phase"] for row in newer.values()} == {"WAITING", "CANCELLED"}

    ended = site.dispatch(wait=True).rows

    watch.told("an older run waits beside a newer commit", ended["dtp-local/fixed"])
    assert _ran(site, "dtp-local/gone") == []
    assert _ran(site, "dtp-local/fixed") == ["new"]
    assert _ran(site, "dtp-local/later") == ["later"]
    assert _ran(site, "dtp-local/stays") == ["stays"]
    assert ended["dtp-local/fixed"]["attempt"] == 2
    assert ended["dtp-local/gone"]["reason"] == "removed from the branch before it started"


def test_a_clone_that_is_older_changes_nothing_and_says_so(site: Site) -> None:
    site.merge(job=SAYS.format("old"))
    site.dispatch(wait=True)
    site.merge(job=SAYS.format("new"))
    site.dispatch()

    older = site.dtp("dispatch", "--source", SOURCE, "--commit", "HEAD~1", "--format", "json")
    retry = site.dtp("retry", REF, "--commit", "HEAD~1")

    assert (older.code, older.actions) == (0, [])
    assert "the cluster follows commit" in older.err
    assert retry.code == 3
    assert "git pull" in retry.err
    assert _ran(site, REF) == ["old"]


def test_a_job_that_is_asked_for_minutes_late_finds_its_name_taken(site: Site) -> None:
    """The dispatcher died with the request on its way; its attempt was replaced meanwhile."""
    site.commit("nothing yet")
    site.dispatch()
    site.merge(job=SAYS.format("old"))
    # Card and entry pass, the Job does not.
    fault = Fault(kind=Kind.BEFORE, at=3, writes_only=True, lasting=True)
    assert killed(site, fault, "dispatch", "--source", SOURCE) == 1
    (entry,) = [one for one in _config_maps(site) if _kind(one) == "entry"]
    name = entry["metadata"]["name"]
    assert _jobs(site) == []
    site.merge(job=SAYS.format("new"))
    ended = site.dispatch(wait=True).rows[REF]

    with pytest.raises(ApiException) as late:
        site.admin.call("POST", PATHS["Job"].format(site.namespace.name), _job_of(entry))

    assert json.loads(late.value.body or "")["reason"] == "AlreadyExists"
    assert (ended["phase"], ended["attempt"]) == ("SUCCEEDED", 2)
    assert _ran(site, REF) == ["new"]
    assert site.pods(name) == []
    first = site.dtp("status", "--all", "--format", "json", REF).json["jobs"][0]
    assert (first["phase"], first["before_start"]) == ("CANCELLED", True)


def test_while_the_pod_of_a_deleted_job_runs_no_attempt_follows(site: Site, watch: Watch) -> None:
    site.merge(job=LONG)
    site.dispatch()
    name = site.until(REF, "RUNNING")["name"]
    wait_for(lambda: _ran(site, REF), "the script to have begun")
    path = f"{PATHS['Job'].format(site.namespace.name)}/{name}"
    site.admin.call("DELETE", path, {"propagationPolicy": "Orphan"})
    site.merge(job=LONG.replace("\n", "\n#DTP attempt=2\n", 1))

    held = site.dispatch()

    watch.told("the Job is deleted, its Pod runs", held.rows[REF])
    assert (held.rows[REF]["attempt"], held.rows[REF]["phase"]) == (1, "RUNNING")
    assert "its Job was deleted" in held.rows[REF]["reason"]
    retry = site.dtp("retry", REF)
    assert retry.code == 3

    (site.place(REF) / "finish").touch()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    while ended["attempt"] == 1:
        ended = site.dispatch(wait=True).rows[REF]
    assert (ended["attempt"], ended["phase"]) == (2, "SUCCEEDED")
    assert _ran(site, REF) == ["begin", "end"] * 2


def _job_of(entry: Row) -> dict[str, Any]:
    """Return the Job that an entry stands for, as any dispatcher makes it."""
    recorded = ledger.load_entry(entry["metadata"])
    return manifests.job(recorded, ledger.load_spec(entry["data"][ledger.ATTEMPT_KEY]))


def _config_maps(site: Site) -> list[Row]:
    return site.admin.list("ConfigMap", site.namespace.name)


def _kind(one: Row) -> str | None:
    return dict(one["metadata"].get("labels", {})).get(ledger.KIND)


def _jobs(site: Site) -> list[Row]:
    return site.admin.list("Job", site.namespace.name)


def _ran(site: Site, ref: str) -> list[str]:
    """Return what a job's script wrote, a line for each time it ran."""
    path = site.place(ref) / "ran"
    return path.read_text().splitlines() if path.exists() else []
