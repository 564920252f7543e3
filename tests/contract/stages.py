"""The same stage twice: what a contract test needs done to a cluster, simulated and real."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from dtp_action.adapters import local, local_store
from dtp_action.adapters.kube import KubeCluster
from dtp_action.core import ledger
from dtp_action.core.model import Entry, PodView, Refused
from dtp_action.dispatch import Cluster
from tests.admin import Namespace, wait_for
from tests.fakes import FakeCluster, World

# The embedded cluster has no API server: nothing to count, no quota, no policy, no events.
API = pytest.mark.parametrize("stage", ["fake", "kube"], indirect=True)

SPOILED = {"metadata": {"annotations": {ledger.ORIGIN: "{"}}}
NO_OUTCOME = {ledger.OUTCOME_KEY: "{}", ledger.TAIL_KEY: ""}


class Counted(Cluster, Protocol):
    """A cluster that tells what it asked."""

    @property
    def requests(self) -> list[str]:
        """All so far, as `verb resource name`."""


class Stage(Protocol):
    """What happens in a cluster beside the dispatcher's own doing."""

    def connect(self) -> Cluster:
        """Return one more dispatcher's connection."""

    def somebody_makes_job(self, name: str) -> None:
        """Make a Job that is none of ours."""

    def fill_quota(self) -> None:
        """Let the namespace take no more Jobs."""

    def forbid_jobs(self, message: str) -> None:
        """Let a policy refuse every Job."""

    def remove_job(self, name: str) -> None:
        """Remove a Job by hand."""

    def spoil_entry(self, name: str) -> None:
        """Make an entry one that cannot be read."""

    def spoil_end(self, entry: Entry) -> None:
        """Make an entry's `-end`, of which nothing can be read."""

    def run_job(self, entry: Entry, exit_code: int) -> PodView:
        """Let a Job of the entry say `hello` and end with this code; return its Pod."""

    def strand_job(self, entry: Entry) -> PodView:
        """Make a Job of the entry that no node takes; return its Pod."""


def waiting(cluster: Cluster) -> PodView:
    """Return a Pod that no node takes, once it is said why."""
    found: PodView = wait_for(
        lambda: next((pod for pod in cluster.pods() if pod.unscheduled), None), "a Pod to say why"
    )
    return found


@dataclass
class FakeStage:
    """The simulated cluster."""

    world: World = field(default_factory=World)

    def connect(self) -> Counted:
        return FakeCluster(self.world)

    def somebody_makes_job(self, name: str) -> None:
        self.world.add_foreign_job(name)

    def fill_quota(self) -> None:
        self.world.refusals["*"] = Refused(reason="the namespace's quota is full", for_good=False)

    def forbid_jobs(self, message: str) -> None:
        self.world.refusals["*"] = Refused(reason=message, for_good=True)

    def remove_job(self, name: str) -> None:
        self.world.lose_job(name)

    def spoil_entry(self, name: str) -> None:
        self.world.spoiled[name] = "it was edited by hand"

    def spoil_end(self, entry: Entry) -> None:
        self.world.spoiled[f"{entry.name}-end"] = "it has no phase"

    def run_job(self, entry: Entry, exit_code: int) -> PodView:
        self.connect().start(entry)
        pod = self.world.run(entry.name, log="hello\n")
        self.world.finish(entry.name, exit_code)
        self.world.add_event(pod.uid, "Started: Started container job")
        return self.world.pods[entry.name][-1]

    def strand_job(self, entry: Entry) -> PodView:
        self.connect().start(entry)
        self.world.make_wait(entry.name, "Unschedulable", "0/1 nodes are available")
        return self.world.pods[entry.name][-1]


@dataclass
class LocalStage:
    """The embedded cluster, in a folder."""

    root: Path

    def connect(self) -> KubeCluster:
        return local.connect(self.root)

    def somebody_makes_job(self, name: str) -> None:
        assert local_store.create(self._object("jobs", name), {"metadata": {"name": name}})

    def fill_quota(self) -> None:
        raise AssertionError("the embedded cluster has no quota")

    def forbid_jobs(self, message: str) -> None:
        raise AssertionError("the embedded cluster has no policies")

    def remove_job(self, name: str) -> None:
        self._object("jobs", name).unlink()

    def spoil_entry(self, name: str) -> None:
        local_store.amend(self._object("configmaps", name), SPOILED)

    def spoil_end(self, entry: Entry) -> None:
        end = ledger.companion(entry, "end", NO_OUTCOME)
        assert local_store.create(self._object("configmaps", f"{entry.name}-end"), end)

    def run_job(self, entry: Entry, exit_code: int) -> PodView:
        data = {ledger.SCRIPT_KEY: f"#!/bin/sh\necho hello\nexit {exit_code}\n"}
        local_store.amend(self._object("configmaps", entry.name), {"data": data})
        self.connect().start(entry)
        wait_for(lambda: any(job.end for job in self.connect().jobs()), "the Job to end")
        return self.connect().pods()[0]

    def strand_job(self, entry: Entry) -> PodView:
        full = local.connect(self.root, slots=0)
        full.start(entry)
        return waiting(full)

    def stop_all(self) -> None:
        """Let no process outlive the test."""
        for job in (self.root / "jobs").glob("*.json"):
            job.unlink()
        locks = list((self.root / "runs").glob("*/alive"))
        wait_for(lambda: not any(map(local_store.taken, locks)), "the Jobs to end")

    def _object(self, resource: str, name: str) -> Path:
        return self.root / resource / f"{name}.json"


@dataclass
class KubeStage:
    """A namespace of a real cluster."""

    namespace: Namespace

    def connect(self) -> Counted:
        return self.namespace.connect()

    def somebody_makes_job(self, name: str) -> None:
        self._make_job(name, ["true"])

    def fill_quota(self) -> None:
        admin, name = self.namespace.admin, self.namespace.name
        used = str(len(admin.list("Job", name)))
        admin.create("ResourceQuota", "full", name, spec={"hard": {"count/jobs.batch": used}})
        wait_for(
            lambda: admin.get("ResourceQuota", "full", name).get("status", {}).get("used"),
            "the quota to be counted",
        )

    def forbid_jobs(self, message: str) -> None:
        admin, name = self.namespace.admin, self.namespace.name
        rule = {
            "apiGroups": ["batch"],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["jobs"],
        }
        here = {"matchLabels": {"kubernetes.io/metadata.name": name}}
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
            "validations": [{"expression": "false", "message": message}],
        }
        admin.create("ValidatingAdmissionPolicy", name, spec=spec)
        binding = {"policyName": name, "validationActions": ["Deny"]}
        admin.create("ValidatingAdmissionPolicyBinding", name, spec=binding)
        wait_for(self._refuses_jobs, "the policy to be in force")

    def _refuses_jobs(self) -> bool:
        from kubernetes.client import ApiException

        try:
            self._make_job("probe", ["true"])
        except ApiException as error:
            return bool(error.status == 422)
        self.namespace.admin.delete("Job", "probe", self.namespace.name)
        return False

    def remove_job(self, name: str) -> None:
        self.namespace.admin.delete("Job", name, self.namespace.name)
        cluster = self.connect()
        wait_for(lambda: all(job.name != name for job in cluster.jobs()), "the Job to be gone")

    def spoil_entry(self, name: str) -> None:
        self.namespace.admin.patch("ConfigMap", name, self.namespace.name, **SPOILED)

    def spoil_end(self, entry: Entry) -> None:
        end = ledger.companion(entry, "end", NO_OUTCOME)
        metadata = {key: end["metadata"][key] for key in ("labels", "annotations")}
        name = end["metadata"]["name"]
        self.namespace.admin.create(
            "ConfigMap", name, self.namespace.name, data=end["data"], immutable=True, **metadata
        )

    def run_job(self, entry: Entry, exit_code: int) -> PodView:
        self._make_job(entry.name, ["bash", "-c", f"echo hello; exit {exit_code}"], entry)
        wait_for(lambda: any(job.end for job in self.connect().jobs()), "the Job to end")
        return self.connect().pods()[0]

    def strand_job(self, entry: Entry) -> PodView:
        self._make_job(entry.name, ["true"], entry, nodeSelector={"no": "where"})
        return waiting(self.connect())

    def _make_job(
        self, name: str, command: list[str], entry: Entry | None = None, **pod: Any
    ) -> None:
        """Make a Job as small as it can be; as if it were the entry's where one is given."""
        labels = {ledger.KIND: "attempt"} if entry else {}
        notes = {ledger.ENTRY_UID: entry.uid} if entry else {}
        locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        image = {"image": self.namespace.images["base"], "securityContext": locked}
        spec = {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [{"name": "prep", "command": ["true"], **image}],
            "containers": [{"name": "job", "command": command, **image}],
            **pod,
        }
        template = {"metadata": {"labels": labels}, "spec": spec}
        self.namespace.admin.create(
            "Job",
            name,
            self.namespace.name,
            labels=labels,
            annotations=notes,
            spec={"backoffLimit": 0, "template": template},
        )
