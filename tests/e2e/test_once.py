"""At most one run per attempt: two dispatchers, one that dies, and two Pods of one Job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core import ledger
from tests.admin import wait_for
from tests.e2e.site import SOURCE, WAIT, Row, Site, Watch
from tests.faults import Fault, Kind, Proxy, proxied

REF = "dtp-local/job"
ONCE = "#!/bin/bash\necho ran >>ran\n"  # a line for each time it runs
UNTIL = ONCE + "until [ -e finish ]; do sleep 0.2; done\n"
MANY = 50
WRITES = 6  # of the life of one attempt: entry, Job, confirmation, end, entry, retirement


def test_two_dispatchers_at_once_start_fifty_scripts_once_each(site: Site, watch: Watch) -> None:
    refs = [f"dtp-local/job-{number:02}" for number in range(MANY)]
    for ref in refs:
        site.write(ref, ONCE)
    site.commit("fifty scripts")
    watch.start()

    with ThreadPoolExecutor() as both:
        runs = [both.submit(site.dispatch, "--first-run") for _ in range(2)]
        done = [run.result() for run in runs]

    assert [run.code for run in done] == [0, 0]
    assert sorted(done[0].rows) == refs
    entries, jobs = _entries(site), site.admin.list("Job", site.namespace.name)
    assert len(entries) == len(jobs) == MANY
    uids = {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in entries}
    for job in jobs:
        assert job["metadata"]["annotations"][ledger.ENTRY_UID] == uids[job["metadata"]["name"]]

    ended = site.dispatch(wait=True)

    watch.told("50 scripts, two dispatchers: all done", ended.rows[refs[-1]])
    assert {row["phase"] for row in ended.rows.values()} == {"SUCCEEDED"}
    assert [_ran(site, ref) for ref in refs] == [1] * MANY


@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER], ids=["before", "after"])
def test_a_dispatcher_killed_at_each_of_its_writes_in_turn_leaves_no_second_run(
    site: Site, kind: Kind
) -> None:
    site.commit("nothing yet")
    site.dispatch()  # the ledger's card is a write of the first run only
    kills = 0
    for at in range(1, WRITES + 1):
        ref = f"dtp-local/killed-at-{at}"
        site.write(ref, ONCE)
        site.commit(ref)
        kills += _dispatch_killed(site, Fault(kind=kind, at=at, writes_only=True))
        row = site.dispatch(wait=True).rows[ref]
        assert (row["phase"], row["attempt"]) == ("SUCCEEDED", 1), at
        assert (_ran(site, ref), site.starts(row["name"])) == (1, ["1"]), at
    assert kills == WRITES
    jobs = site.admin.list("Job", site.namespace.name)
    assert len(jobs) == WRITES
    assert len(_entries(site)) == WRITES
    assert site.dispatch().actions == []
    assert all(job["spec"]["ttlSecondsAfterFinished"] < 2 * 86_400 for job in jobs)


def test_a_cancel_killed_at_each_of_its_writes_in_turn_is_carried_out_by_the_next_run(
    site: Site,
) -> None:
    for at in range(1, 4):  # tail, intent, deadline
        ref = f"dtp-local/cancelled-{at}"
        site.write(ref, UNTIL)
        site.commit(ref)
        site.dispatch()
        site.until(ref, "RUNNING")
        wait_for(partial(_ran, site, ref), "the script to have begun")
        fault = Fault(kind=Kind.AFTER, at=at, writes_only=True)
        assert killed(site, fault, "cancel", ref) == 1
        again = site.dtp("cancel", ref)
        assert again.code in (0, 3), again.err
        ended = site.dispatch_until(ref, "CANCELLED")
        assert ended["reason"] == "cancelled by ada"
        assert _ran(site, ref) == 1


def _dispatch_killed(site: Site, fault: Fault) -> int:
    """Dispatch until it is killed; return 1 if it was."""
    return killed(site, fault, "dispatch", "--source", SOURCE, "--wait", str(WAIT))


def killed(site: Site, fault: Fault, *arguments: str) -> int:
    with proxied(site.namespace.kubeconfig) as proxy:
        led = through(site, proxy)
        with led.running(*arguments) as process:
            proxy.play(replace(fault, then=process.kill))
            process.communicate()
        return int(proxy.hit)


def through(site: Site, proxy: Proxy) -> Site:
    """Return the same site for a dispatcher whose requests pass through the proxy."""
    kubeconfig = site.kubeconfig.with_suffix(".proxied")
    kubeconfig.write_text(proxy.kubeconfig)
    return replace(site, kubeconfig=kubeconfig)


# --- two Pods of one Job -------------------------------------------------------------------------


def test_a_second_pod_while_the_first_runs_waits_and_tells_its_result(
    site: Site, watch: Watch
) -> None:
    site.merge(job=UNTIL)
    site.dispatch()
    name = site.until(REF, "RUNNING")["name"]
    wait_for(lambda: _ran(site, REF), "the script to have begun")

    stray = _second_pod(site, name)
    wait_for(lambda: "running" in _states(site, stray), "the second Pod's runner to be there")

    assert site.job(REF)["phase"] == "RUNNING"
    (site.place(REF) / "finish").touch()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("a second Pod while the first runs", ended)
    assert _exit_code(site, stray) == 0
    assert _ran(site, REF) == 1


def test_a_jobs_own_pod_that_comes_second_waits_and_tells_the_firsts_result(
    site: Site, watch: Watch
) -> None:
    with held_back(site):
        site.merge(job=UNTIL)
        name = site.dispatch().rows[REF]["name"]
        wait_for(lambda: site.pods(name), "the Job's Pod")
        stray = _second_pod(site, name)
        wait_for(lambda: _ran(site, REF), "the stray Pod's script to have begun")

    site.until(REF, "RUNNING")
    watch.start()
    (site.place(REF) / "finish").touch()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("the Job's Pod comes second", ended)
    assert _exit_code(site, stray) == 0
    assert _ran(site, REF) == 1


def test_a_jobs_own_pod_that_comes_after_the_end_tells_the_result_again(
    site: Site, watch: Watch
) -> None:
    with held_back(site):
        site.merge(job=ONCE + "exit 7\n")
        name = site.dispatch().rows[REF]["name"]
        wait_for(lambda: site.pods(name), "the Job's Pod")
        assert _exit_code(site, _second_pod(site, name)) == 7

    ended = site.dispatch_until(REF, "FAILED")
    watch.told("the Job's Pod comes after the end", ended)
    assert ended["exit_code"] == 7
    assert _ran(site, REF) == 1


def test_of_two_pods_at_the_same_moment_one_runs_the_script(site: Site, watch: Watch) -> None:
    refs = [f"dtp-local/job-{number}" for number in range(6)]
    with held_back(site):
        for ref in refs:
            site.write(ref, ONCE + "sleep 5\n")
        site.commit()
        names = [row["name"] for row in site.dispatch().rows.values()]
        strays = [_second_pod(site, name, waits=True) for name in names]

    ended = site.dispatch(wait=True).rows

    codes = [_exit_code(site, stray) for stray in strays]
    for ref, code in zip(refs, codes, strict=True):
        watch.told(f"two Pods at once, the other's exit {code}", ended[ref])
        assert _ran(site, ref) == 1
    phases = [ended[ref]["phase"] for ref in refs]
    # Who came second waited, and told the first one's result.
    assert set(zip(phases, codes, strict=True)) == {("SUCCEEDED", 0)}


@contextmanager
def held_back(site: Site) -> Iterator[None]:
    """Let the site's Pods wait for a label of the node, which it has at the end for a moment."""
    label = f"dtp-tests/{site.namespace.name}"
    site.namespace.settle_settings(nodeSelector={label: "go"})
    yield
    _label_node(site, label, "go")
    wait_for(lambda: _all_are_admitted(site), "the Pods to be let go")
    _label_node(site, label, None)


def _label_node(site: Site, label: str, value: str | None) -> None:
    node = site.admin.call("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    site.admin.call("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: value}}})


def _all_are_admitted(site: Site) -> bool:
    """Tell whether the node has taken all: it asks for the label again when it does."""
    pods = site.admin.list("Pod", site.namespace.name)
    return all("containerStatuses" in pod["status"] for pod in pods)


def _second_pod(site: Site, name: str, *, waits: bool = False) -> str:
    """Make another Pod from a Job's template, as a confused controller does; return its name."""
    spec: dict[str, Any] = site.admin.get("Job", name, site.namespace.name)["spec"]["template"][
        "spec"
    ]
    if not waits:
        spec.pop("nodeSelector", None)
    stray = f"second-{name}"
    site.admin.create("Pod", stray, site.namespace.name, spec=spec)
    return stray


def _exit_code(site: Site, pod: str) -> int:
    """Wait for a Pod's end."""
    ended = wait_for(lambda: _states(site, pod).get("terminated"), f"{pod} to end")
    return int(ended["exitCode"])


def _states(site: Site, pod: str) -> Row:
    """Return the state of a Pod's only container."""
    status = site.admin.get("Pod", pod, site.namespace.name)["status"]
    return {
        key: value
        for one in status.get("containerStatuses", ())
        for key, value in one["state"].items()
    }


def _ran(site: Site, ref: str) -> int:
    """Return how often a script ran, as it wrote itself."""
    path = site.place(ref) / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _entries(site: Site) -> list[Row]:
    found = site.admin.list("ConfigMap", site.namespace.name)
    return [one for one in found if one["metadata"].get("labels", {}).get(ledger.KIND) == "entry"]


# --- two ledgers, two attempts -------------------------------------------------------------------


def test_a_ledger_made_anew_over_a_claim_that_was_kept_is_told_nothing_of_the_old_ones_results(
    site: Site, watch: Watch
) -> None:
    site.merge(job=ONCE)
    name = site.dispatch(wait=True).rows[REF]["name"]
    kept = {path: path.read_bytes() for path in _state(site, name) if path.is_file()}
    _forget_everything(site)

    site.merge(job=ONCE.replace("ran >>", "anew >>") + "exit 3\n")
    watch.start()
    ended = site.dispatch(wait=True).rows[REF]

    watch.told("a ledger made anew over a claim that was kept", ended)
    assert (ended["phase"], ended["name"], ended["before_start"]) == ("ERRORED", name, True)
    assert "from another ledger or script" in ended["reason"]
    assert (site.place(REF) / "ran").read_text() == "ran\n"
    assert {path: path.read_bytes() for path in _state(site, name) if path.is_file()} == kept

    assert site.dtp("retry", REF).code == 0
    assert site.dispatch(wait=True).rows[REF]["exit_code"] == 3
    assert (site.place(REF) / "ran").read_text() == "ran\nanew\n"


def test_a_later_attempt_waits_for_a_pod_of_an_earlier_one_that_nobody_knows_of(
    site: Site, watch: Watch
) -> None:
    with held_back(site):
        site.merge(job=UNTIL)
        name = site.dispatch().rows[REF]["name"]
        wait_for(lambda: site.pods(name), "the Job's Pod")
        stray = _second_pod(site, name)
        wait_for(lambda: _ran(site, REF), "the stray Pod's script to have begun")
        assert site.dtp("cancel", REF).code == 0
        site.dispatch_until(REF, "CANCELLED")
        assert site.dtp("retry", REF).code == 0
        later = site.dispatch().rows[REF]["name"]
        wait_for(lambda: site.pods(later), "the next attempt's Pod")
        # The node takes it when its label comes, and prep waits.
        watch.start()

    told = site.until(REF, "WAITING", "waiting for an earlier attempt")
    watch.told("a later attempt while a Pod of an earlier one runs", told)
    assert (told["attempt"], _ran(site, REF)) == (2, 1)
    (site.place(REF) / "finish").touch()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("a later attempt after that Pod has ended", ended)
    assert _exit_code(site, stray) == 0
    assert (_ran(site, REF), ended["warnings"]) == (2, [])


def _state(site: Site, name: str) -> list[Path]:
    return sorted((site.claim / ".dtp/state" / name).rglob("*"))


def _forget_everything(site: Site) -> None:
    """Remove Jobs and ledger, as with a namespace that is made anew; the claim is kept."""
    for kind in ("Job", "ConfigMap"):
        for one in site.admin.list(kind, site.namespace.name):
            if ledger.KIND in one["metadata"].get("labels", {}):
                site.admin.delete(kind, one["metadata"]["name"], site.namespace.name)
    wait_for(lambda: not site.admin.list("Pod", site.namespace.name), "the Pods to go")
