"""What only a real cluster can show: permissions, pages, answers lost on the way to it."""

from __future__ import annotations

from typing import cast

import pytest

from dtp_action.adapters import kube
from dtp_action.core.model import Phase, Started
from dtp_action.errors import ClusterRefusedError, UnavailableError
from tests import builders
from tests.admin import Namespace
from tests.contract.stages import API, Counted, FakeStage, KubeStage, Stage
from tests.faults import Fault, Kind, proxied


def use_everything(stage: Stage) -> Counted:
    """Call all that the port has, once at least."""
    cluster = cast(Counted, stage.connect())
    cluster.settings()
    cluster.namespace_uid()
    cluster.identify(builders.an_identity())
    cluster.identify(builders.an_identity())
    cluster.rename("another")
    entry = cluster.record(builders.a_draft())
    started = cluster.start(entry)
    assert isinstance(started, Started)
    cluster.start(entry)
    entry = cluster.confirm(entry, started.job_uid)
    entry = cluster.intend(entry, builders.an_intent(), "tail")
    (job,) = cluster.jobs()
    cluster.stop(job)
    entry = cluster.settle(entry, builders.an_outcome(Phase.CANCELLED), "")
    cluster.retire(job, 600)
    cluster.ledger()
    cluster.pods()
    cluster.events(started.job_uid)
    cluster.kept(entry.name)
    cluster.pod_log(builders.a_pod(entry), lines=1)
    list(cluster.log(builders.a_pod(entry), lines=1, follow=False))
    return cluster


@API
def test_adapter_needs_exactly_the_required_verbs(stage: Stage) -> None:
    used: dict[str, set[str]] = {}
    for request in use_everything(stage).requests:
        verb, resource = request.split()[:2]
        used.setdefault(resource, set()).add(verb)
    assert {key: tuple(sorted(verbs)) for key, verbs in used.items()} == kube.REQUIRED_VERBS


def test_simulated_and_real_cluster_are_asked_the_same(namespace: Namespace) -> None:
    real, simulated = use_everything(KubeStage(namespace)), use_everything(FakeStage())
    assert simulated.requests == real.requests


def test_list_in_pages_is_whole(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "PAGE", 2)
    cluster = namespace.connect()
    cluster.identify(builders.an_identity())
    for attempt in range(1, 6):
        cluster.record(builders.a_draft(attempt=attempt))
    found = cluster.ledger()
    assert found.identity
    assert sorted(entry.attempt for entry in found.entries) == [1, 2, 3, 4, 5]
    # One more than three where another ConfigMap comes after the last entry.
    assert cluster.requests.count("list configmaps") in (3, 4)


def test_missing_permission_is_told_in_kubernetes_own_words(namespace: Namespace) -> None:
    text = namespace.admin.kubeconfig_for(namespace.name, "dtp-job")
    cluster = kube.connect(kubeconfig=text, context=None, namespace=None)
    with pytest.raises(ClusterRefusedError) as caught:
        cluster.jobs()
    who = f"system:serviceaccount:{namespace.name}:dtp-job"
    assert caught.value.message == f"{who} may not list jobs in namespace {namespace.name} (403)."


def test_namespace_that_is_not_there_is_told(namespace: Namespace) -> None:
    admin = namespace.admin.kubeconfig
    cluster = kube.connect(kubeconfig=admin, context=None, namespace="not-there")
    with pytest.raises(ClusterRefusedError, match="Namespace not-there is not there"):
        cluster.settings()


def test_wrong_token_is_told(namespace: Namespace) -> None:
    text = namespace.kubeconfig.replace("token: ey", "token: no")
    cluster = kube.connect(kubeconfig=text, context=None, namespace=None)
    with pytest.raises(ClusterRefusedError, match="credential of dtp-dispatch"):
        cluster.namespace_uid()


def test_wrong_authority_is_unavailable_and_says_certificate(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = namespace.kubeconfig
    kept = "\n".join(line for line in text.splitlines() if "certificate-authority" not in line)
    monkeypatch.setattr("dtp_action.adapters.kube_http.FIRST_PAUSE", 0.001)
    cluster = kube.connect(kubeconfig=kept, context=None, namespace=None)
    with pytest.raises(UnavailableError, match="certificate"):
        cluster.namespace_uid()


def record_and_start(cluster: kube.KubeCluster, attempt: int) -> None:
    entry = cluster.record(builders.a_draft(attempt=attempt))
    started = cluster.start(entry)
    assert isinstance(started, Started)
    cluster.confirm(entry, started.job_uid)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_attempt_starts_once_whatever_goes_wrong_with_its_writes(
    namespace: Namespace, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtp_action.adapters.kube_http.READ", 1.0)
    writes = 2 if kind is Kind.QUOTA else 3
    with proxied(namespace.kubeconfig) as proxy:
        cluster = kube.connect(kubeconfig=proxy.kubeconfig, context=None, namespace=None)
        for attempt in range(1, writes + 1):
            proxy.play(Fault(kind=kind, at=attempt, writes_only=True))
            record_and_start(cluster, attempt)
            assert proxy.hit
            proxy.deliver()
    cluster = namespace.connect()
    found = {job.entry_uid: job.uid for job in cluster.jobs()}
    assert len(found) == len(cluster.jobs()) == writes
    assert {entry.uid: entry.job_uid for entry in cluster.ledger().entries} == found


def test_proxy_can_break_one_kind_of_request_alone() -> None:
    quota = Fault(kind=Kind.QUOTA, at=1)
    writes = Fault(kind=Kind.BEFORE, at=1, writes_only=True)
    asked = ["GET /a", "PATCH /a", "POST /a", "POST /graphql"]
    assert [line for line in asked[:3] if quota.fits(line)] == ["POST /a"]
    assert [line for line in asked if writes.fits(line)] == ["PATCH /a", "POST /a"]


def test_proxy_can_cut_a_dispatcher_off_for_good(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    cut = Fault(kind=Kind.BEFORE, at=2, lasting=True, then=lambda: called.append("cut"))
    monkeypatch.setattr("dtp_action.adapters.kube_http.FIRST_PAUSE", 0.001)
    with proxied(namespace.kubeconfig, cut) as proxy:
        cluster = kube.connect(kubeconfig=proxy.kubeconfig, context=None, namespace=None)
        cluster.namespace_uid()
        with pytest.raises(UnavailableError):
            cluster.settings()
    assert called
    assert len(proxy.requests) > 2
