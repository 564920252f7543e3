"""`dtp doctor` on a real cluster: where all is well, and where one thing was broken by hand."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtp_action.adapters import doctor as eyes
from dtp_action.adapters import kube_login
from dtp_action.core import doctor, ledger
from dtp_action.core.doctor import Diagnosis, State
from tests import builders
from tests.admin import PATHS, Admin, Namespace, make_namespace, remove_namespace, wait_for
from tests.contract.credentials import a_token
from tests.contract.test_kubeconfig import as_namespace_admin, dtp, grant_renewal

HAND = "kubectl-edit"  # what the API server notes of who changes something by hand


@pytest.fixture(scope="module")
def guarded(
    admin: Admin, images: dict[str, str], cluster_facts: dict[str, str]
) -> Iterator[Namespace]:
    """Yield a namespace in profile `cluster`, to be broken and mended."""
    name = f"c-{secrets.token_hex(4)}"
    volumes = cluster_facts.get("VOLUMES")
    settings = {"images": ["localhost/dtp/", "docker.io/amazon"], "grants": {"lab": ["ada"]}}
    made = make_namespace(
        admin,
        name,
        images,
        Path(volumes) if volumes else None,
        profile="cluster",
        settings=settings,
    )
    yield made
    remove_namespace(admin, name)
    if made.claim:
        shutil.rmtree(made.claim, ignore_errors=True)


def lines(namespace: Namespace, text: str = "", source: str | None = None) -> tuple[Diagnosis, ...]:
    """Return what doctor says, to the cluster's admin unless another kubeconfig is given."""
    login = kube_login.login(
        kubeconfig=text or namespace.admin.kubeconfig, context=None, namespace=namespace.name
    )
    return doctor.examine(eyes.look(login, source))


def bad(found: tuple[Diagnosis, ...]) -> list[tuple[State, str]]:
    """Return what is not ok, beside that the credentials of tests live for an hour."""
    told = [one for one in found if one.check != "credential"]
    return [(one.state, one.check) for one in told if one.state is not State.OK]


# --- where all is well ---------------------------------------------------------------------------


def test_admin_sees_that_all_is_well(guarded: Namespace) -> None:
    found = lines(guarded)
    assert bad(found) == []
    (policy,) = [one for one in found if one.check == "policy"]
    assert "refused" in policy.message


def test_dispatcher_sees_the_policy_by_what_it_refuses(guarded: Namespace) -> None:
    found = lines(guarded, guarded.kubeconfig)
    unseen = ("accounts", "network", "claim", "pod")
    assert bad(found) == [(State.UNSEEN, check) for check in unseen]


def test_admin_of_the_namespace_sees_what_its_profile_goes_without(namespace: Namespace) -> None:
    found = lines(namespace, as_namespace_admin(namespace))
    warned = [one for one in found if one.state is not State.OK]
    assert [one.check for one in warned if one.state is State.PROBLEM] == []
    (policy,) = [one for one in warned if one.check == "policy"]
    for power in ("another claim", "a Secret that nobody granted", "another content of dtp-clu"):
        assert power in policy.message
    assert "pod" not in [one.check for one in warned]


def test_somebody_who_may_only_look_is_told_so(namespace: Namespace) -> None:
    bind(namespace, "view", "looker")
    found = lines(namespace, namespace.admin.kubeconfig_for(namespace.name, "looker"))
    lacks = [one.message for one in found if one.check == "permissions"]
    assert any("may not create, patch jobs" in message for message in lacks)


# --- where something is wrong --------------------------------------------------------------------


def bind(namespace: Namespace, role: str, account: str) -> None:
    """Give an account, made where need be, a role of Kubernetes' own in the namespace."""
    admin, name = namespace.admin, namespace.name
    if account not in ("dtp-dispatch", "dtp-job"):
        admin.create("ServiceAccount", account, name)
    admin.create(
        "RoleBinding",
        "by-hand",
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": name}],
    )


def edit_settings(namespace: Namespace, **changes: Any) -> None:
    """Change keys of dtp-cluster, as `kubectl edit` does."""
    now = namespace.admin.get("ConfigMap", ledger.SETTINGS_NAME, namespace.name)["data"]
    text = yaml.safe_dump(yaml.safe_load(now[ledger.SETTINGS_KEY]) | changes)
    path = f"{PATHS['ConfigMap'].format(namespace.name)}/{ledger.SETTINGS_NAME}"
    body = {"data": {ledger.SETTINGS_KEY: text}}
    namespace.admin.call("PATCH", f"{path}?fieldManager={HAND}", body)


def of_policy(namespace: Namespace, what: str) -> str:
    return f"dtp-{namespace.name}-{what}"


BROKEN: dict[str, tuple[Callable[[Admin, Namespace], object], State, str, str]] = {
    "a Role that lacks a verb": (
        lambda admin, ns: admin.patch(
            "Role", "dtp-dispatch", ns.name,
            rules=[{"apiGroups": [""], "resources": ["configmaps", "namespaces"],
                    "verbs": ["create", "get", "list", "patch"]}],
        ),
        State.PROBLEM, "permissions", "dtp-dispatch may not create, get, list, patch jobs",
    ),
    "a dispatcher that may too much": (
        lambda _, ns: bind(ns, "edit", "dtp-dispatch"),
        State.PROBLEM, "permissions", "dtp-dispatch may create, get, list, patch, watch secrets",
    ),
    "a dispatcher that may renew its own token": (
        lambda _, ns: grant_renewal(ns, "dtp-dispatch"),
        State.PROBLEM, "permissions", "dtp-dispatch may create serviceaccounts/token",
    ),
    "jobs that may look around": (
        lambda _, ns: bind(ns, "view", "dtp-job"),
        State.PROBLEM, "permissions", "dtp-job may get pods/log",
    ),
    "settings with a typo": (
        lambda _, ns: edit_settings(ns, clam="x"),
        State.PROBLEM, "settings", "clam",
    ),
    "settings changed by hand": (
        lambda _, ns: edit_settings(ns, retention="2d"),
        State.WARNING, "settings", f"ConfigMap dtp-cluster was changed by {HAND}",
    ),
    "an image allowed by hand": (
        lambda _, ns: edit_settings(ns, images=["localhost/dtp/", "quay.io/lab"]),
        State.PROBLEM, "policy", "refuses what the settings allow, an image of quay.io/lab",
    ),
    "a cap lowered by hand": (
        lambda _, ns: edit_settings(ns, caps={"memory": "1Gi"}),
        State.PROBLEM, "policy", "takes what the settings do not allow: more memory",
    ),
    "a Secret granted by hand": (
        lambda _, ns: edit_settings(ns, grants={"other": ["bob"]}),
        State.PROBLEM, "policy", "refuses what the settings allow, a job at the caps",
    ),
    "another claim by hand": (
        lambda _, ns: edit_settings(ns, claim="elsewhere"),
        State.PROBLEM, "claim", "claim elsewhere is not there",
    ),
    "a policy that is not bound": (
        lambda admin, ns: admin.delete(
            "ValidatingAdmissionPolicyBinding", of_policy(ns, "jobs")
        ),
        State.PROBLEM, "policy", "-jobs has no binding that denies",
    ),
    "a policy that is gone": (
        lambda admin, ns: admin.delete("ValidatingAdmissionPolicy", of_policy(ns, "ledger")),
        State.PROBLEM, "policy", "-ledger is not there",
    ),
    "a policy changed by hand": (
        lambda admin, ns: admin.call(
            "PATCH",
            f"{PATHS['ValidatingAdmissionPolicy']}/{of_policy(ns, 'jobs')}?fieldManager={HAND}",
            {"spec": {"failurePolicy": "Ignore"}},
        ),
        State.WARNING, "policy", f"-jobs was changed by {HAND}",
    ),
    "no account for jobs": (
        lambda admin, ns: admin.delete("ServiceAccount", "dtp-job", ns.name),
        State.PROBLEM, "accounts", "no account dtp-job",
    ),
    "no network policy": (
        lambda admin, ns: admin.delete("NetworkPolicy", "dtp-job", ns.name),
        State.WARNING, "network", "no NetworkPolicy dtp-job",
    ),
    "a quota that asks for what Pods do not say": (
        lambda admin, ns: admin.create(
            "ResourceQuota", "by-hand", ns.name, spec={"hard": {"limits.cpu": "4"}}
        ),
        State.PROBLEM, "pod", "limits.cpu",
    ),
    "a namespace that enforces nothing": (
        lambda admin, ns: admin.patch(
            "Namespace", ns.name, metadata={"labels": {doctor.ENFORCE: None}}
        ),
        State.WARNING, "namespace", "enforces Pod Security: nothing",
    ),
}  # fmt: skip


@pytest.fixture
def mended(guarded: Namespace) -> Iterator[Namespace]:
    """Yield the namespace; whatever a test does to it is put right."""
    yield guarded
    admin, name = guarded.admin, guarded.name
    admin.delete("RoleBinding", "by-hand", name)
    admin.delete("Role", "by-hand", name)
    admin.delete("ResourceQuota", "by-hand", name)
    admin.patch("Namespace", name, metadata={"labels": {doctor.ENFORCE: "restricted"}})
    admin.delete("ConfigMap", ledger.SETTINGS_NAME, name)
    guarded.settle_settings()
    wait_for(lambda: not bad(lines(guarded)), "the namespace to be well again")


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_broken_by_hand_gives_its_line(mended: Namespace, what: str) -> None:
    breaks, state, check, words = BROKEN[what]
    breaks(mended.admin, mended)

    def told() -> list[Diagnosis]:  # some of it takes effect a moment later
        return [
            one
            for one in lines(mended)
            if (one.state, one.check) == (state, check) and words in one.message
        ]

    (line,) = wait_for(told, f"the line about {what}")
    assert line.fix


def test_dispatcher_sees_drift_too(mended: Namespace) -> None:
    edit_settings(mended, images=["localhost/dtp/", "quay.io/lab"])
    found = lines(mended, mended.kubeconfig)
    assert (State.WARNING, "settings") in bad(found)
    assert (State.PROBLEM, "policy") in bad(found)


def test_ledger_of_another_branch_is_told(namespace: Namespace) -> None:
    namespace.connect().identify(builders.an_identity())
    (line,) = [one for one in lines(namespace, source="git.example.org/2#main")
               if one.check == "ledger"]  # fmt: skip
    assert line.state is State.PROBLEM
    assert f"belongs to {builders.SOURCE}" in line.message


# --- the command ---------------------------------------------------------------------------------


def test_lines_are_also_data_and_a_problem_is_an_exit_code(namespace: Namespace) -> None:
    well = dtp("doctor", "--format", "json", kubeconfig=namespace.kubeconfig)
    document = json.loads(well.stdout)
    assert (well.returncode, document["version"]) == (0, 1)
    assert document["checks"][0].keys() == {"check", "state", "message", "fix"}
    namespace.admin.delete("Role", "dtp-dispatch", namespace.name)
    wait_for(lambda: dtp("doctor", kubeconfig=namespace.kubeconfig).returncode == 1, "a problem")


def test_nothing_is_left_behind(namespace: Namespace) -> None:
    kinds = ("ConfigMap", "Job", "Pod")
    before = [namespace.admin.list(kind, namespace.name) for kind in kinds]
    lines(namespace)
    lines(namespace, namespace.kubeconfig)
    assert [namespace.admin.list(kind, namespace.name) for kind in kinds] == before


@pytest.mark.parametrize(
    ("change", "code", "check", "words"),
    [
        (lambda text: "x: [", 2, "kubeconfig", "cannot be used"),
        (lambda text: with_token(text, a_token(exp=1e9)), 2, "kubeconfig", "expired"),
        (lambda text: with_token(text, "wrong"), 4, "server", "did not accept the credential"),
        (lambda text: text.replace(":6443", ":1"), 6, "server", "https://"),
    ],
)
def test_what_cannot_be_reached_is_a_line_with_the_documented_exit_code(
    namespace: Namespace, change: Callable[[str], str], code: int, check: str, words: str
) -> None:
    done = dtp("doctor", "--format", "json", kubeconfig=change(namespace.kubeconfig))
    (line,) = json.loads(done.stdout)["checks"]
    assert done.returncode == code
    assert (line["state"], line["check"]) == ("problem", check)
    assert words in line["message"]
    assert line["fix"]


def test_namespace_that_is_not_there_is_a_line(kubeconfig: str) -> None:
    done = dtp("doctor", "-n", "not-there", kubeconfig=kubeconfig)
    assert done.returncode == 4
    assert "Namespace not-there is not there" in done.stdout


def with_token(text: str, token: str) -> str:
    config = yaml.safe_load(text)
    config["users"][0]["user"]["token"] = token
    return yaml.safe_dump(config)


def test_embedded_cluster_needs_no_doctor(tmp_path: Path) -> None:
    done = dtp("doctor", "--cluster", f"local:{tmp_path / 'cluster'}", kubeconfig="")
    assert done.returncode == 0, done.stderr
    assert "there is no account, permission, claim or policy to check" in done.stdout
