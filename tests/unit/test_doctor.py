"""What `dtp doctor` makes of what it sees: each wrong set-up gives its line, and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dtp_action.adapters import kube
from dtp_action.core import catalog, doctor, manifests, trials
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.doctor import Claim, Diagnosis, Facts, Not, Powers, State
from dtp_action.core.model import Ledger
from dtp_action.core.trials import Tried
from dtp_action.errors import UnavailableError, UsageError
from tests import builders
from tests.builders import NOON

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "templates"
REQUIRED = frozenset((verb, kind) for kind, verbs in kube.REQUIRED_VERBS.items() for verb in verbs)
BY_POLICY = "jobs is forbidden: ValidatingAdmissionPolicy 'dtp-dtp-jobs' denied request: no"


def powers(**changes: Any) -> Powers:
    return Powers(**{"who": "dtp-dispatch", "needs": REQUIRED, "has": REQUIRED} | changes)


def tried(*, by_policy: bool = True, **said: str) -> tuple[Tried, ...]:
    """Return one thing that is allowed and two that are not, refused by a policy unless said."""
    no = BY_POLICY if by_policy else ""
    return (
        Tried(what="a job", allowed=True, said=said.get("job", "")),
        Tried(what="another claim", allowed=False, said=said.get("claim", no)),
        Tried(what="another account", allowed=False, said=said.get("account", no)),
    )


def facts(**changes: Any) -> Facts:
    """Return what is seen of a set-up in profile `cluster` where all is well."""
    well: dict[str, Any] = {
        "user": "ada",
        "server": "https://192.0.2.1:6443",
        "version": "v1.37.2",
        "ends": NOON + timedelta(days=90),
        "now": NOON,
        "clock": NOON,
        "namespace": "dtp",
        "uid": builders.NAMESPACE_UID,
        "labels": {doctor.ENFORCE: "restricted"},
        "accounts": {"dtp-dispatch": None, "dtp-job": None},
        "powers": (powers(),),
        "settings": builders.settings(),
        "edited": (),
        "network": None,
        "ledger": Ledger(identity=builders.an_identity(), entries=()),
        "source": builders.SOURCE,
        "policies": dict.fromkeys(doctor.policy_names("dtp"), True),
        "claim": Claim(phase="Bound", modes=("ReadWriteMany",), provisioner="nfs.example.org"),
        "tried": tried(),
        "pod": "",
    }
    return Facts(**well | changes)


def told(**changes: Any) -> list[Diagnosis]:
    """Return all lines that are not `ok`."""
    return [one for one in doctor.examine(facts(**changes)) if one.state is not State.OK]


def test_where_all_is_well_every_line_says_ok() -> None:
    lines = doctor.examine(facts())
    assert [one.state for one in lines] == [State.OK] * len(lines)
    assert doctor.verdict(lines) == "all is well"
    assert len({one.check for one in lines}) == len(lines)


WRONG: dict[str, tuple[dict[str, Any], State, str, str]] = {
    "an old server": ({"version": "v1.34.4"}, State.PROBLEM, "server", "1.34.4"),
    "a clock that is off": (
        {"clock": NOON - timedelta(minutes=3)},
        State.WARNING,
        "clock",
        "3m 0s apart",
    ),
    "nothing enforced": ({"labels": {}}, State.WARNING, "namespace", "privileged"),
    "less enforced": (
        {"labels": {doctor.ENFORCE: "baseline"}},
        State.WARNING,
        "namespace",
        "baseline",
    ),
    "no account": (
        {"accounts": {"dtp-dispatch": None, "dtp-job": Not.THERE}},
        State.PROBLEM,
        "accounts",
        "no account dtp-job",
    ),
    "a verb that is missing": (
        {"powers": (powers(has=REQUIRED - {("patch", "jobs")}),)},
        State.PROBLEM,
        "permissions",
        "dtp-dispatch may not patch jobs",
    ),
    "a verb too many": (
        {"powers": (powers(has=REQUIRED | {("get", "secrets"), ("list", "secrets")}),)},
        State.PROBLEM,
        "permissions",
        "dtp-dispatch may get, list secrets",
    ),
    "an account of jobs that may do something": (
        {"powers": (powers(who="dtp-job", needs=frozenset(), has={("list", "pods")}),)},
        State.PROBLEM,
        "permissions",
        "dtp-job may list pods",
    ),
    "settings that cannot be read": (
        {"settings": UsageError("settings.yaml: the key `claim` is missing", hint="add it")},
        State.PROBLEM,
        "settings",
        "`claim` is missing",
    ),
    "settings edited by hand": (
        {"edited": (("settings", "ConfigMap dtp-cluster was changed by kubectl-edit"),)},
        State.WARNING,
        "settings",
        "kubectl-edit",
    ),
    "a policy edited by hand": (
        {"edited": (("policy", "dtp-dtp-jobs was changed by kubectl-edit"),)},
        State.WARNING,
        "policy",
        "dtp-dtp-jobs was changed by kubectl-edit",
    ),
    "an example's runner": (
        {"settings": builders.settings(runner_image="registry.example.org/dtp/runner:1")},
        State.PROBLEM,
        "runner image",
        "example",
    ),
    "a runner without digest": (
        {"settings": builders.settings(runner_image="registry.example/runner:1")},
        State.WARNING,
        "runner image",
        "no digest",
    ),
    "no claim": ({"claim": Not.THERE}, State.PROBLEM, "claim", "claim shared is not there"),
    "no network policy": ({"network": Not.THERE}, State.WARNING, "network", "dtp-job"),
    "another branch's ledger": (
        {"source": "github.com/2#main"},
        State.PROBLEM,
        "ledger",
        "belongs to github.com/1#main",
    ),
    "another namespace's ledger": ({"uid": "other"}, State.PROBLEM, "ledger", "copied"),
    "a ledger without its card": (
        {"ledger": Ledger(identity=None, entries=(builders.an_entry(),))},
        State.PROBLEM,
        "ledger",
        "its card",
    ),
    "a ledger that cannot be read": (
        {"ledger": UsageError("ConfigMap x cannot be read")},
        State.PROBLEM,
        "ledger",
        "cannot be read",
    ),
    "a policy that is gone": (
        {"policies": dict.fromkeys(doctor.policy_names("dtp")[1:], True)},
        State.PROBLEM,
        "policy",
        "dtp-dtp-dispatcher is not there",
    ),
    "a policy that is not bound": (
        {"policies": dict.fromkeys(doctor.policy_names("dtp"), True) | {"dtp-dtp-jobs": False}},
        State.PROBLEM,
        "policy",
        "dtp-dtp-jobs has no binding",
    ),
    "a policy that takes too much": (
        {"tried": tried(claim="")},
        State.PROBLEM,
        "policy",
        "do not allow: another claim",
    ),
    "a full quota": (
        {"tried": tried(job="exceeded quota: jobs")},
        State.WARNING,
        "job",
        "exceeded quota",
    ),
    "a webhook against all Jobs": (
        {"tried": tried(job='admission webhook "x" denied the request')},
        State.PROBLEM,
        "job",
        "webhook",
    ),
    "a quota against all Pods": (
        {"pod": "failed quota: must specify limits.cpu"},
        State.PROBLEM,
        "pod",
        "limits.cpu",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_wrong_set_up_gives_one_line_and_what_to_do(what: str) -> None:
    changes, state, check, words = WRONG[what]
    (line,) = told(**changes)
    assert (line.state, line.check) == (state, check)
    assert words in line.message
    assert line.fix or what == "a ledger that cannot be read"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"version": ""}, "server"),
        ({"labels": Not.SEEN}, "namespace"),
        ({"accounts": {"dtp-dispatch": Not.SEEN, "dtp-job": Not.SEEN}}, "accounts"),
        ({"network": Not.SEEN}, "network"),
        ({"claim": Not.SEEN}, "claim"),
        ({"pod": Not.SEEN}, "pod"),
    ],
)
def test_what_an_account_may_not_see_is_said_and_is_no_problem(
    changes: dict[str, Any], check: str
) -> None:
    (line,) = told(**changes)
    assert (line.state, line.check) == (State.UNSEEN, check)
    assert "not visible with this account" in line.message
    assert doctor.verdict([line]) == "all is well, as far as can be seen"


# --- the credential ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "state"),
    [(90, State.OK), (7.1, State.OK), (6.9, State.WARNING), (0.1, State.WARNING)],
)
def test_credential_is_warned_of_a_week_before_its_end(days: float, state: State) -> None:
    line = doctor.credential(NOON + timedelta(days=days), NOON)
    assert line.state is state
    assert ("docs/how-to/credentials.md" in line.fix) == (state is State.WARNING)


def test_credential_that_does_not_end_is_no_cause_for_alarm() -> None:
    assert doctor.credential(None, NOON).state is State.OK


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ("https://192.168.1.5:6443", True),
        ("https://127.0.0.1:6443", True),
        ("https://localhost:6443", True),
        ("https://[fd00::1]:6443", True),
        ("https://8.8.8.8:6443", False),
        ("https://api.example.org", False),
    ],
)
def test_address_that_github_cannot_reach_is_warned_of(server: str, warned: bool) -> None:
    assert bool(doctor.near_by(server)) == warned


# --- the claim -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "modes", "provisioner", "state", "words"),
    [
        ("Bound", "ReadWriteMany ReadWriteOnce", "", State.OK, "bound"),
        ("Bound", "ReadWriteMany", Not.THERE, State.OK, "bound"),
        ("Bound", "ReadWriteOnce", "", State.WARNING, "one node"),
        ("Bound", "ReadOnlyMany", "", State.PROBLEM, "for writing"),
        ("Bound", "ReadWriteOncePod", "", State.PROBLEM, "share"),
        ("Lost", "ReadWriteMany", "", State.PROBLEM, "gone"),
        ("Pending", "ReadWriteMany", "nfs.example.org", State.WARNING, "pending"),
        ("Pending", "ReadWriteMany", Not.THERE, State.PROBLEM, "storage class is not there"),
        ("Pending", "ReadWriteMany", "ebs.csi.aws.com", State.PROBLEM, "one node at a time"),
        ("Pending", "ReadWriteMany", "k8s.io/minikube-hostpath", State.PROBLEM, "one node"),
    ],
)
def test_claim_is_judged_by_whether_all_nodes_can_write_to_it(
    phase: str, modes: str, provisioner: str | Not, state: State, words: str
) -> None:
    claim = Claim(phase=phase, modes=tuple(modes.split()), provisioner=provisioner)
    (line,) = [one for one in doctor.examine(facts(claim=claim)) if one.check == "claim"]
    assert line.state is state
    assert words in line.message


# --- the policy ----------------------------------------------------------------------------------


def test_profile_namespace_names_what_it_goes_without() -> None:
    (line,) = told(policies={}, tried=tried(by_policy=False))
    assert (line.state, line.check) == (State.WARNING, "policy")
    assert "can also have another claim, another account" in line.message
    assert "profile=cluster" in line.fix


@pytest.mark.parametrize("policies", [{}, Not.SEEN])
def test_policy_is_known_by_its_deeds_where_it_cannot_be_seen(policies: Any) -> None:
    assert told(policies=policies) == []


def test_policy_that_refuses_what_the_settings_allow_is_a_problem() -> None:
    (refused,) = told(tried=tried(job=BY_POLICY))
    assert (refused.state, refused.check) == (State.PROBLEM, "policy")
    assert "refuses what the settings allow, a job" in refused.message


def test_policy_that_can_neither_be_seen_nor_tried_is_not_seen() -> None:
    lines = told(policies=Not.SEEN, tried=())
    assert [(line.state, line.check) for line in lines] == [
        (State.UNSEEN, "policy"),
        (State.UNSEEN, "job"),
    ]


def test_policies_are_those_of_the_chart() -> None:
    named = [re.search(r'"what" "([a-z-]+)"', path.read_text()) for path in CHART.glob("policy-*")]
    assert sorted(found[1] for found in named if found) == list(doctor.POLICIES)


# --- the end -------------------------------------------------------------------------------------


def test_what_cannot_be_reached_is_one_line() -> None:
    line = doctor.stopped("server", UnavailableError("no answer", hint="run again"))
    assert (line.state, line.message, line.fix) == (State.PROBLEM, "no answer", "run again")


def test_verdict_counts() -> None:
    lines = told(labels={}, claim=Not.THERE, pod="no", accounts={"dtp-dispatch": Not.THERE})
    assert doctor.verdict(lines) == "3 problems, 1 warning"


def test_embedded_cluster_has_only_a_ledger_to_look_at() -> None:
    lines = doctor.embedded(Ledger(identity=None, entries=()), source="local", uid="local")
    assert [one.check for one in lines] == ["cluster", "ledger"]
    assert {one.state for one in lines} == {State.OK}


def test_page_names_each_check_in_the_order_of_the_lines() -> None:
    page = (ROOT / "docs" / "reference" / "doctor.md").read_text()
    told = re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)
    assert told == [one.check for one in doctor.examine(facts())]


# --- what is tried -------------------------------------------------------------------------------

WIDE = builders.settings(
    images=("docker.io/amazon/", "quay.io", "ghcr.io/a/b:1"),
    grants={"lab": ("ada",)},
    groups=(2000,),
    queue="dtp",
)


@pytest.mark.parametrize("settings", [builders.settings(), WIDE])
def test_what_is_tried_first_is_a_job_as_dispatch_makes_it(settings: ClusterSettings) -> None:
    first, *others = trials.trials(settings)
    pod = first.body["spec"]["template"]["spec"]
    assert first.allowed
    assert pod["containers"][0]["command"] == [
        f"{manifests.TOOLS}/bin/busybox",
        "sh",
        "/dtp/run.sh",
    ]
    told = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert told["DTP_TIME"] == str(settings.caps.time)
    assert {one.what for one in others if one.allowed} == {
        f"an image of {prefix}" for prefix in settings.images[1:]
    }


def test_every_granted_secret_is_tried() -> None:
    usual = next(iter(trials.trials(WIDE))).body["spec"]["template"]["spec"]
    (secrets,) = [volume for volume in usual["volumes"] if volume["name"] == "secrets"]
    names = [one["secret"]["name"] for one in secrets["projected"]["sources"]]
    assert names == ["dtp-local", "dtp-local-lab"]


def test_nothing_that_is_tried_is_like_another() -> None:
    bodies = [str(one.body) for one in trials.trials(WIDE)]
    assert len(set(bodies)) == len(bodies)
    assert len({one.what for one in trials.trials(WIDE)}) == len(bodies)


@pytest.mark.parametrize(
    "prefix",
    [
        "docker.io",
        "docker.io/",
        "docker.io/amazon",
        "docker.io/amazon/",
        "docker.io/amazon/aws-cli:",
        "docker.io/amazon/aws-cli:2",
        "docker.io/amazon/aws-cli@",
        "docker.io/amazon/aws-cli@sha256:" + 64 * "1",
        "localhost:5000/dtp",
    ],
)
def test_image_of_a_prefix_is_admitted_and_has_a_digest(prefix: str) -> None:
    image = trials.image_of(prefix)
    assert builders.settings(images=(prefix,)).admits(image)
    assert re.fullmatch(r"[\w.:-]+(/[\w.:-]+)+@sha256:[0-9a-f]{64}", image)


def test_pod_that_is_tried_is_the_one_of_an_undemanding_job() -> None:
    row = catalog.Row(protocol="local")
    pod = trials.pod(replace(WIDE, images=()))
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": f"{row.memory // 2**30}Gi"}
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == pod["metadata"]["name"]
