"""`dtp kubeconfig`: what is asked of the API server, what is printed, and what it is worth."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dtp_action.adapters import kube, kube_login
from dtp_action.adapters.kube_api import Request
from tests import preloaded
from tests.admin import Admin, Namespace
from tests.api_stub import Answer, NoAnswer, Stub, page, serve, status
from tests.contract.credentials import a_pair, a_token, encoded

DTP = Path(sys.executable).with_name("dtp")
CALLERS = "t0ken-of-the-admin"
TOKEN = a_token(exp=1893844800)  # of the stub's tomorrow
NAMESPACE = Answer(body={"kind": "Namespace", "metadata": {"uid": "u"}})


def granted(end: str) -> Answer:
    return Answer(
        body={"metadata": {}, "status": {"token": TOKEN, "expirationTimestamp": end}}, status=201
    )


QUARTER = granted("2030-04-02T12:00:00Z")
DAY = granted("2030-01-03T12:00:00Z")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A played API server, and an admin's kubeconfig for it."""

    stub: Stub
    kubeconfig: str

    def dtp(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return dtp(*arguments, kubeconfig=self.kubeconfig, **environment)


def dtp(*arguments: str, kubeconfig: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DTP_KUBECONFIG": kubeconfig}
    return preloaded.run([str(DTP), *arguments], clean | environment)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    certificate, key = a_pair("server", 1)
    (tmp_path / "server").write_text(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server")
    with serve(tls) as stub:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {
                        "server": stub.url,
                        "certificate-authority-data": encoded(certificate),
                    },
                }
            ],
            "contexts": [
                {"name": "c", "context": {"cluster": "c", "user": "admin", "namespace": "dtp"}}
            ],
            "users": [{"name": "admin", "user": {"token": CALLERS}}],
        }
        yield Place(stub=stub, kubeconfig=yaml.safe_dump(config))


def test_one_line_of_base64_is_all_of_stdout(place: Place) -> None:
    place.stub.play(QUARTER, NAMESPACE)
    done = place.dtp("kubeconfig")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    config = yaml.safe_load(base64.b64decode(done.stdout, validate=False))
    assert config["users"] == [{"name": "dtp-dispatch", "user": {"token": TOKEN}}]
    assert config["contexts"][0]["context"]["namespace"] == "dtp"
    assert config["clusters"] == [
        {"name": "dtp", "cluster": yaml.safe_load(place.kubeconfig)["clusters"][0]["cluster"]}
    ]
    assert "its token ends on 2030-04-02T12:00:00Z, in 90d" in done.stderr
    assert "address of a private network" in done.stderr  # the stub is on this machine


def test_yaml_is_the_same_in_plain(place: Place) -> None:
    place.stub.play(QUARTER, NAMESPACE, QUARTER, NAMESPACE)
    line, plain = place.dtp("kubeconfig"), place.dtp("kubeconfig", "--format", "yaml")
    assert base64.b64decode(line.stdout).decode() == plain.stdout


def test_nothing_of_the_callers_credential_is_in_it(place: Place) -> None:
    place.stub.play(QUARTER, NAMESPACE)
    done = place.dtp("kubeconfig", "--format", "yaml")
    assert CALLERS not in done.stdout + done.stderr
    assert [seen.headers["Authorization"] for seen in place.stub.seen] == [
        f"Bearer {CALLERS}",
        f"Bearer {TOKEN}",
    ]


@pytest.mark.parametrize(("given", "seconds"), [((), 90 * 86400), (("--duration", "6h"), 21600)])
def test_token_is_asked_for_with_its_end(
    place: Place, given: tuple[str, ...], seconds: int
) -> None:
    place.stub.play(QUARTER, NAMESPACE)
    place.dtp("kubeconfig", *given)
    asked = place.stub.seen[0]
    assert asked.path == "/api/v1/namespaces/dtp/serviceaccounts/dtp-dispatch/token"
    assert (asked.body or {})["spec"] == {"expirationSeconds": seconds}


def test_less_than_was_asked_for_is_told(place: Place) -> None:
    place.stub.play(DAY, NAMESPACE)
    done = place.dtp("kubeconfig")
    assert done.returncode == 0
    assert "its token ends on 2030-01-03T12:00:00Z, in 1d" in done.stderr
    assert "the cluster grants 1d where 90d was asked for: docs/how-to/credentials" in done.stderr


def test_lost_answer_is_asked_for_again(place: Place) -> None:
    place.stub.play(NoAnswer(), QUARTER, NAMESPACE)
    assert place.dtp("kubeconfig").returncode == 0


def test_in_a_workflow_it_is_hidden_in_each_form(place: Place) -> None:
    place.stub.play(QUARTER, NAMESPACE)
    done = place.dtp(
        "kubeconfig",
        GITHUB_ACTIONS="true",
        GITHUB_EVENT_NAME="workflow_dispatch",
        DTP_KUBECONFIG=encoded(place.kubeconfig),
    )
    hidden = {line.removeprefix("::add-mask::") for line in done.stderr.splitlines()}
    assert {TOKEN, done.stdout.strip()} <= hidden


@pytest.mark.parametrize(
    ("answers", "message", "hint"),
    [
        (
            [status(404, "NotFound", 'serviceaccounts "dtp-dispatch" not found')],
            "namespace dtp has no account dtp-dispatch",
            "Install the chart",
        ),
        (
            [
                status(
                    403,
                    "Forbidden",
                    'serviceaccounts "dtp-dispatch" is forbidden: User "ada" cannot create resource'
                    ' "serviceaccounts/token" in API group "" in the namespace "dtp"',
                )
            ],
            "admin may not make a token of dtp-dispatch in namespace dtp (403)",
            "cannot renew its own",
        ),
        (
            [QUARTER, status(401, "Unauthorized", "Unauthorized")],
            "a token was made, and fails",
            "a proxy with accounts of its own",
        ),
        (
            [
                QUARTER,
                status(
                    403,
                    "Forbidden",
                    'namespaces "dtp" is forbidden: User "x" cannot get resource "namespaces"',
                ),
            ],
            "a token was made, and fails",
            "its Role is not in force",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_to_do(
    place: Place, answers: list[Answer], message: str, hint: str
) -> None:
    place.stub.play(*answers)
    done = place.dtp("kubeconfig")
    assert (done.returncode, done.stdout) == (4, "")
    assert message in done.stderr
    assert hint in done.stderr


def test_missing_namespace_is_named(place: Place) -> None:
    place.stub.play(status(404, "NotFound", 'namespaces "dtp" not found'))
    assert "Namespace dtp is not there" in place.dtp("kubeconfig").stderr


def test_cluster_whose_certificate_is_not_checked_is_refused(place: Place) -> None:
    config = yaml.safe_load(place.kubeconfig)
    config["clusters"][0]["cluster"] = {"server": place.stub.url, "insecure-skip-tls-verify": True}
    done = dtp("kubeconfig", kubeconfig=yaml.safe_dump(config))
    assert (done.returncode, done.stdout, place.stub.seen) == (2, "", [])
    assert "does not check the cluster's certificate" in done.stderr


def test_cluster_without_tls_is_refused(place: Place) -> None:
    with serve() as plain:
        plain.play(QUARTER)
        text = place.kubeconfig.replace(place.stub.url, plain.url)
        done = dtp("kubeconfig", kubeconfig=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not begin with https://" in done.stderr


@pytest.mark.parametrize("arguments", [("--duration", "5m"), ("--duration", "soon"),
                                       ("--cluster", "local")])  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error(place: Place, arguments: tuple[str, ...]) -> None:
    done = place.dtp("kubeconfig", *arguments)
    assert (done.returncode, done.stdout, place.stub.seen) == (2, "", [])


# --- the end that comes --------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "warned"), [(6, True), (8, False)])
def test_status_warns_a_week_before_the_credential_ends(
    place: Place, days: int, warned: bool
) -> None:
    place.stub.play(page(), page(kind="JobList"))
    text = place.kubeconfig.replace(CALLERS, a_token(exp=time.time() + days * 86400))
    done = dtp("status", "--format", "json", kubeconfig=text)
    assert done.returncode == 0, done.stderr
    assert ("the credential in use ends soon" in done.stderr) == warned


def test_certificates_end_too(place: Place) -> None:
    place.stub.play(page(), page(kind="JobList"))
    config = yaml.safe_load(place.kubeconfig)
    certificate, key = a_pair("ada", 3)
    pair = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    config["users"][0]["user"] = pair
    assert "in 2d 23h" in dtp("status", kubeconfig=yaml.safe_dump(config)).stderr


def test_what_a_plugin_renews_is_not_warned_of(place: Place, tmp_path: Path) -> None:
    place.stub.play(page(), page(kind="JobList"))
    api = "client.authentication.k8s.io/v1"
    token = a_token(exp=time.time() + 900)
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f'#!/bin/sh\necho \'{{"kind": "ExecCredential", "apiVersion": "{api}",'
        f' "status": {{"token": "{token}"}}}}\'\n'
    )
    plugin.chmod(0o700)
    config = yaml.safe_load(place.kubeconfig)
    config["users"][0]["user"] = {
        "exec": {"apiVersion": api, "command": str(plugin), "interactiveMode": "Never"}
    }
    done = dtp("status", kubeconfig=yaml.safe_dump(config))
    assert done.returncode == 0, done.stderr
    assert "ends soon" not in done.stderr
    assert place.stub.seen[0].headers["Authorization"] == f"Bearer {token}"


# --- on a real cluster ---------------------------------------------------------------------------


def test_real_one_is_the_dispatchers_and_no_more(namespace: Namespace) -> None:
    done = dtp("kubeconfig", "-n", namespace.name, kubeconfig=namespace.admin.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert "in 90d" in done.stderr
    login = kube_login.login(kubeconfig=done.stdout, context=None, namespace=None, strict=True)
    who = login.api().ask(Request(verb="create", resource="selfsubjectreviews", body={}))
    account = f"system:serviceaccount:{namespace.name}:dtp-dispatch"
    assert who["status"]["userInfo"]["username"] == account
    assert kube.KubeCluster(login.api()).settings()


def test_admin_of_the_namespace_alone_may_make_one(namespace: Namespace) -> None:
    text = as_namespace_admin(namespace)
    done = dtp("kubeconfig", kubeconfig=text)
    assert done.returncode == 0, done.stderr


def test_renewer_needs_that_one_right(namespace: Namespace) -> None:
    namespace.admin.create("ServiceAccount", "renewer", namespace.name)
    grant_renewal(namespace, "renewer")
    text = namespace.admin.kubeconfig_for(namespace.name, "renewer")
    done = dtp("kubeconfig", kubeconfig=text)
    assert done.returncode == 0, done.stderr


def test_dispatcher_cannot_renew_its_own(namespace: Namespace) -> None:
    done = dtp("kubeconfig", kubeconfig=namespace.kubeconfig)
    assert done.returncode == 4
    assert "A dispatcher cannot renew its own" in done.stderr


def test_namespace_without_the_chart_is_told(kubeconfig: str) -> None:
    done = dtp("kubeconfig", "-n", "kube-public", kubeconfig=kubeconfig)
    assert done.returncode == 4
    assert "namespace kube-public has no account dtp-dispatch" in done.stderr


def as_namespace_admin(namespace: Namespace) -> str:
    """Return the kubeconfig of somebody with the role `admin` in the namespace and nothing else."""
    admin: Admin = namespace.admin
    admin.create("ServiceAccount", "boss", namespace.name)
    admin.create(
        "RoleBinding",
        "boss",
        namespace.name,
        roleRef={
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "admin",
        },
        subjects=[{"kind": "ServiceAccount", "name": "boss", "namespace": namespace.name}],
    )
    return admin.kubeconfig_for(namespace.name, "boss")


def grant_renewal(namespace: Namespace, account: str) -> None:
    """Let an account make tokens of the dispatcher, as docs/how-to/credentials.md does."""
    admin, name = namespace.admin, namespace.name
    rule = {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "verbs": ["create"],
        "resourceNames": ["dtp-dispatch"],
    }
    admin.create("Role", "by-hand", name, rules=[rule])
    admin.create(
        "RoleBinding",
        "by-hand",
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "by-hand"},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": name}],
    )
