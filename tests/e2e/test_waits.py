"""Why an attempt waits, in plain words and soon; and what is stuck for good becomes ERRORED."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.admin import wait_for
from tests.e2e.conftest import Sites
from tests.e2e.site import Site, Watch

HELLO = "#!/bin/bash\necho hello\n"


def test_an_image_that_cannot_be_pulled_is_told_and_becomes_errored(
    sites: Sites, watch: Watch
) -> None:
    with sites(stuckLimit="10s") as site:
        site.write("dtp-missing/hello", HELLO)
        site.commit()
        watch.start()
        site.dispatch()
        waiting = site.until("dtp-missing/hello", "WAITING", "its image cannot be pulled: .+")
        watch.told("image missing: waiting", waiting)

        ended = site.dispatch_until("dtp-missing/hello", "ERRORED")

        watch.told("image missing: stuck for 10 s", ended)
        assert "its image cannot be pulled: " in ended["reason"]
        assert (ended["started"], ended["exit_code"]) == (None, None)


def test_more_memory_than_any_node_has_is_told_and_becomes_errored(
    sites: Sites, watch: Watch
) -> None:
    with sites(queueAllowance="10s", caps={"memory": "9Ti"}) as site:
        site.merge(huge="#!/bin/bash\n#DTP memory=8Ti\necho hello\n")
        watch.start()
        site.dispatch()
        waiting = site.until("dtp-local/huge", "WAITING", "no node has enough free memory now: .+")
        watch.told("unschedulable: waiting", waiting)

        ended = site.dispatch_until("dtp-local/huge", "ERRORED")

        watch.told("unschedulable: waited for 10 s", ended)
        assert "no node has enough free memory now: " in ended["reason"]


def test_a_script_that_could_not_start_runs_again_when_it_is_mended(sites: Sites) -> None:
    with sites(queueAllowance="10s", caps={"memory": "9Ti"}) as site:
        site.merge(huge="#!/bin/bash\n#DTP memory=8Ti\necho hello\n")
        site.dispatch_until("dtp-local/huge", "ERRORED")
        site.namespace.settle_settings()
        site.merge(huge=HELLO)
        ended = site.dispatch(wait=True).rows["dtp-local/huge"]
        assert (ended["attempt"], ended["phase"]) == (2, "SUCCEEDED")


def test_a_claim_that_does_not_exist_is_told_and_becomes_errored(
    sites: Sites, watch: Watch
) -> None:
    with sites(claim="nowhere", stuckLimit="10s") as site:
        site.merge(hello=HELLO)
        watch.start()
        site.dispatch()
        waiting = site.until("dtp-local/hello", "WAITING", "the shared claim does not exist: .+")
        watch.told("claim missing: waiting", waiting)
        watch.told(
            "claim missing: stuck for 10 s", site.dispatch_until("dtp-local/hello", "ERRORED")
        )


def test_an_unbound_claim_is_waited_for(sites: Sites, watch: Watch) -> None:
    with sites(claim="unbound") as site:
        spec: dict[str, Any] = {
            "storageClassName": "",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        site.admin.create("PersistentVolumeClaim", "unbound", site.namespace.name, spec=spec)
        site.merge(hello=HELLO)
        watch.start()
        site.dispatch()
        waiting = site.until("dtp-local/hello", "WAITING", "the shared claim is not bound: .+")
        watch.told("claim unbound: waiting", waiting)


def test_a_full_quota_of_pods_is_waited_for_and_then_it_runs(site: Site, watch: Watch) -> None:
    quota = {"hard": {"pods": "0"}}
    site.admin.create("ResourceQuota", "full", site.namespace.name, spec=quota)
    _wait_for_quota(site)
    site.merge(hello=HELLO)
    watch.start()
    site.dispatch()
    waiting = site.until("dtp-local/hello", "WAITING", "the namespace's quota is full: .+")
    watch.told("quota of Pods full: waiting", waiting)

    site.admin.patch("ResourceQuota", "full", site.namespace.name, spec={"hard": {"pods": "9"}})

    watch.start()
    watch.told("quota raised", site.dispatch_until("dtp-local/hello", "SUCCEEDED"))


def test_a_full_quota_of_jobs_is_told_and_the_next_run_starts_it(site: Site, watch: Watch) -> None:
    quota = {"hard": {"count/jobs.batch": "0"}}
    site.admin.create("ResourceQuota", "full", site.namespace.name, spec=quota)
    _wait_for_quota(site)
    site.merge(hello=HELLO)
    watch.start()
    refused = site.dispatch()
    watch.told("quota of Jobs full", refused.rows["dtp-local/hello"])
    assert refused.code == 0
    held = [row["reason"] for row in refused.json["actions"] if row["action"] == "hold"]
    assert len(held) == 1
    assert held[0].startswith("the namespace's quota is full: ")
    assert site.job("dtp-local/hello")["reason"].startswith("the namespace's quota is full: ")

    site.admin.delete("ResourceQuota", "full", site.namespace.name)

    ended = site.dispatch_until("dtp-local/hello", "SUCCEEDED")
    assert ended["attempt"] == 1


def _wait_for_quota(site: Site) -> None:
    wait_for(
        lambda: (
            site.admin.get("ResourceQuota", "full", site.namespace.name)
            .get("status", {})
            .get("used")
        ),
        "the quota to be counted",
    )


def test_a_policy_against_its_pod_is_told_and_becomes_errored(sites: Sites, watch: Watch) -> None:
    with sites(stuckLimit="10s") as site, forbidden(site, "pods", "no Pods on Sundays"):
        site.merge(hello=HELLO)
        watch.start()
        site.dispatch()
        waiting = site.until("dtp-local/hello", "WAITING", "a policy of the cluster refuses it: .+")
        watch.told("policy refuses the Pod: waiting", waiting)
        assert "no Pods on Sundays" in waiting["reason"]
        ended = site.dispatch_until("dtp-local/hello", "ERRORED")
        watch.told("policy refuses the Pod: stuck for 10 s", ended)


def test_a_policy_against_its_job_is_an_outcome_at_once(site: Site, watch: Watch) -> None:
    with forbidden(site, "jobs", "no Jobs on Sundays"):
        site.merge(hello=HELLO)
        watch.start()
        ended = site.dispatch().rows["dtp-local/hello"]
        watch.told("policy refuses the Job", ended)
        assert ended["phase"] == "ERRORED"
        assert "no Jobs on Sundays" in ended["reason"]


def test_a_missing_service_account_is_told(site: Site, watch: Watch) -> None:
    site.admin.delete("ServiceAccount", "dtp-job", site.namespace.name)
    site.merge(hello=HELLO)
    watch.start()
    site.dispatch()
    words = "the service account for jobs is missing: .+"
    watch.told("service account missing", site.until("dtp-local/hello", "WAITING", words))


@contextmanager
def forbidden(site: Site, resource: str, message: str) -> Iterator[None]:
    """Let an admission policy refuse every Pod or Job of the namespace."""
    admin, name = site.admin, site.namespace.name
    rule = {
        "apiGroups": ["batch" if resource == "jobs" else ""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": [resource],
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
        "validations": [{"expression": "false", "message": message}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    admin.create("ValidatingAdmissionPolicy", name, spec=spec)
    admin.create("ValidatingAdmissionPolicyBinding", name, spec=binding)
    try:
        wait_for(lambda: _is_refused(site, resource), "the policy to be in force")
        yield
    finally:
        admin.delete("ValidatingAdmissionPolicyBinding", name)
        admin.delete("ValidatingAdmissionPolicy", name)


def _is_refused(site: Site, resource: str) -> bool:
    """Try it out, without effect."""
    kind = {"pods": "Pod", "jobs": "Job"}[resource]
    drop = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "localhost/none", "securityContext": drop}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = pod if kind == "Pod" else {"template": {"spec": pod}}
    return site.refuses(kind, spec)
