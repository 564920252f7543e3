"""What an attacker can do, and what stops it: all of it is tried, and the docs say what came of it.

The tables of docs/explanation/security.md are held to it, a column by each kind of namespace.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.admin import wait_for
from tests.e2e import attacks, page
from tests.e2e.conftest import Sites
from tests.e2e.page import Found
from tests.e2e.prey import NOTHING, Call, Prey, Wire, changed, make_prey, script, tried, who
from tests.e2e.site import SOURCE, Site

Told = Callable[[str, Found], None]

COLUMNS = {  # how the chart is installed, and whether the namespace has the Pod Security label
    "profile `cluster`": ("cluster", True),
    "profile `namespace`": ("namespace", True),
    "without the label": ("namespace", False),
}
GRANTS = {"lab": ["ada"]}
GITHUB = "with the kubeconfig at hand"
WIDENED = "profile `cluster`, and the role `admin`"


@pytest.fixture(scope="module", params=COLUMNS)
def column(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def prey(column: str, sites: Sites, images: dict[str, str]) -> Iterator[Prey]:
    """Yield a site with what there is to steal and to break."""
    profile, labelled = COLUMNS[column]
    allowed = [images[name].partition("@")[0] for name in ("base", "aws")]
    with sites(profile=profile, images=allowed, writable=["shared"], grants=GRANTS) as site:
        if not labelled:
            labels = {"pod-security.kubernetes.io/enforce": None}
            site.admin.patch("Namespace", site.namespace.name, metadata={"labels": labels})
        furnish(site)
        site.dispatch()  # so that there is a ledger
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(site.place("dtp-local/other") / "socket"))
            server.listen()
            (site.place("dtp-local/other") / "socket").chmod(0o777)
            yield make_prey(site)


def furnish(site: Site) -> None:
    """Put down Secrets, an account, another job's file and pipe, another's state, a path for all,
    and a link to the state that a job left while it could.
    """
    for secret in ("dtp-local", "dtp-aws", "dtp-local-lab", "other"):
        token = {"TOKEN": f"the token of {secret}"}
        site.admin.create("Secret", secret, site.namespace.name, stringData=token)
    site.admin.create("ServiceAccount", "robot", site.namespace.name)
    for path in ("dtp-jobs/dtp-local/other", ".dtp/state/other/starts/1", "shared"):
        folder = site.claim / path
        folder.mkdir(parents=True)
        for part in (folder, *folder.parents):
            if site.claim in part.parents:
                part.chmod(0o777)
    (site.place("dtp-local/other") / "data").write_text("data of another job\n")
    os.mkfifo(site.place("dtp-local/other") / "pipe")
    (site.place("dtp-local/other") / "pipe").chmod(0o666)
    (site.claim / "trapped").symlink_to(".dtp/state")


@pytest.fixture
def told(column: str) -> Told:
    """Return what holds a table's column to what was found."""

    def check(table: str, found: Found) -> None:
        more = (WIDENED,) if table == "powers" else ()
        page.hold(table, column, found, (*COLUMNS, *more))

    return check


# --- from a pull request ------------------------------------------------------------------------


def test_no_run_for_a_pull_request_opens_the_cluster(site: Site) -> None:
    found = {}
    for event in ("pull_request", "pull_request_target", "workflow_run"):
        run = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event}
        for command in (["dispatch", "--source", SOURCE], ["plan", "--source", SOURCE], ["status"]):
            done = replace(site, environment=run).dtp(*command)
            refused = done.code == 2 and event in done.err
            found[f"`dtp {command[0]}` on `{event}`"] = "dtp" if refused else NOTHING
    page.hold("github", GITHUB, found, (GITHUB,))


# --- with the dispatcher's token -----------------------------------------------------------------


def test_what_the_dispatchers_token_can_ask_for(prey: Prey, told: Told) -> None:
    told("powers", asked(prey, attacks.POWERS))


def test_what_the_policy_stops_where_somebody_gave_the_account_more(site: Site) -> None:
    furnish(site)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    account = {"kind": "ServiceAccount", "name": "dtp-dispatch", "namespace": site.namespace.name}
    site.admin.create(
        "RoleBinding", "mistake", site.namespace.name, roleRef=role, subjects=[account]
    )
    prey = make_prey(site)
    wait_for(lambda: prey.refuses(prey.get("Secret")) == NOTHING, "the role to be given")
    page.hold("powers", WIDENED, asked(prey, attacks.POWERS), (*COLUMNS, WIDENED))


def test_what_the_dispatchers_token_can_change_of_a_job(prey: Prey, told: Told) -> None:
    told("changes", asked(prey, attacks.CHANGES))


def asked(prey: Prey, calls: dict[str, Callable[[Prey], Call]]) -> Found:
    """Return who refused each; what is to be deleted by a trick is really gone where nobody did."""
    found = {}
    for what, make in calls.items():
        method, path, body = make(prey)
        found[what] = prey.refuses((method, path, body))
        if found[what] == NOTHING and what.startswith("have "):
            wait_for(partial(prey.gone, path), what, 180)
    return found


def test_what_jobs_the_dispatchers_token_can_make(
    prey: Prey, told: Told, images: dict[str, str]
) -> None:
    made, found, podless = {}, {}, set()
    for what, changes in attacks.jobs(images).items():
        job = prey.changed_job(changes)
        found[what] = prey.refuses(prey.post("Job", job))
        made[job["metadata"]["name"]] = what
        if not job["spec"]["parallelism"]:
            podless.add(job["metadata"]["name"])
    accepted = {name for name, what in made.items() if found[what] == NOTHING}
    becomes: Found = dict.fromkeys(accepted & podless, NOTHING)
    wait_for(partial(all_told, prey, accepted, becomes), f"what becomes of {accepted}", 240)
    for name in accepted:
        found[made[name]] = becomes[name]
        remove(prey, name)
    told("jobs", found)


def all_told(prey: Prey, jobs: set[str], becomes: Found) -> bool:
    """Note who refused the Pod of each Job, or that nothing did; tell whether that is all."""
    admin, namespace = prey.site.admin, prey.namespace
    for event in admin.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]:
        if event["reason"] == "FailedCreate":
            becomes[event["involvedObject"]["name"]] = who(event["message"])
    for pod in admin.list("Pod", namespace):
        becomes[pod["metadata"]["ownerReferences"][0]["name"]] = NOTHING
    gone = [name for name in jobs - becomes.keys() if prey.gone(prey.path("Job", name))]
    becomes |= dict.fromkeys(gone, NOTHING)  # for want of its owner
    return jobs <= becomes.keys()


def remove(prey: Prey, job: str) -> None:
    """Let a Job go, whatever was done to keep it."""
    admin = prey.site.admin
    if not prey.gone(prey.path("Job", job)):
        admin.patch("Job", job, prey.namespace, metadata={"finalizers": None})
    admin.delete("Job", job, prey.namespace)


def test_whether_an_attempt_can_be_run_a_second_time(prey: Prey, told: Told) -> None:
    site = prey.site
    ends = [code for code, _ in attacks.AGAIN.values()]
    for number, code in enumerate(ends):
        site.write(f"dtp-local/again-{number}", f"#!/bin/bash\necho ran >>ran\nexit {code}\n")
    site.commit()
    rows = site.dispatch(wait=True).rows
    found = {}
    for number, (what, (_, changes)) in enumerate(attacks.AGAIN.items()):
        ref = f"dtp-local/again-{number}"
        again = remade(prey, rows[ref]["name"])
        found[what] = prey.refuses(prey.post("Job", changed(again, changes)))
        if found[what] == NOTHING:
            ended = partial(over, prey, rows[ref]["name"])
            wait_for(ended, f"the Job {rows[ref]['name']} to end", 240)
            if (site.place(ref) / "ran").read_text() == "ran\n":
                found[what] = "the fence"
    told("again", found)


def remade(prey: Prey, name: str) -> Wire:
    """Let the Job of an ended attempt go, as Kubernetes does some time after the end; return what
    would make it again.
    """
    kept = prey.site.admin.get("Job", name, prey.namespace)
    prey.site.delete_job(name)
    again = {
        "metadata": {key: kept["metadata"][key] for key in ("name", "labels", "annotations")},
        "spec": kept["spec"],
    }
    for place in (again["spec"], again["spec"]["template"]["metadata"]["labels"]):
        for key in [
            one for one in place if one == "selector" or "-uid" in one or "job-name" in one
        ]:
            del place[key]
    return again


def over(prey: Prey, job: str) -> bool:
    """Tell whether a Job has ended, well or not."""
    conditions = prey.status(job).get("conditions", ())
    return any(one["type"] in ("Complete", "Failed") for one in conditions)


# --- from the shell of a job ---------------------------------------------------------------------


def test_what_a_script_can_do(prey: Prey, told: Told) -> None:
    site = prey.site
    site.write("dtp-local/intruder", script(attacks.SHELL))
    for number, (text, _) in enumerate(attacks.ENDS.values()):
        site.write(f"dtp-local/end-{number}", text)
    site.commit()
    rows = site.dispatch(wait=True).rows
    found = stopped(prey, "dtp-local/intruder", attacks.SHELL)
    for number, (what, (_, ends)) in enumerate(attacks.ENDS.items()):
        row = rows[f"dtp-local/end-{number}"]
        end = f"{row['phase']} {row['reason']}"
        by = [name for words, name in ends.items() if re.match(words, end)]
        assert by or row["phase"] == "SUCCEEDED", f"{what}: {end}"
        found[what] = by[0] if by else NOTHING
    later = {"visible": "own", "writable": attacks.LATER_WRITABLE}
    site.namespace.settle_settings(**site.namespace.values["settings"] | later)
    site.merge(blindfolded=script(attacks.HIDDEN))
    site.dispatch(wait=True)
    told("shell", found | stopped(prey, "dtp-local/blindfolded", attacks.HIDDEN))


def stopped(prey: Prey, ref: str, tries: dict[str, str]) -> Found:
    """Return what stopped each of a script's tries."""
    found = tried(prey.site, ref, tries)
    return {what: who(said) if code else NOTHING for what, (code, said) in found.items()}


# --- at last, since the site is not to be used after it -------------------------------------------


def test_what_the_dispatchers_token_can_write_to_the_ledger(prey: Prey, told: Told) -> None:
    told("ledger", asked(prey, attacks.LEDGER))
