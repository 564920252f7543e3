"""The Job of an entry, as YAML to be read, and what must hold of every Job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import ledger, manifests, phases
from dtp_action.core.model import Mount, Spec
from tests import builders as b
from tests.unit.conftest import Golden, as_yaml

EVERYTHING = b.a_spec(
    cpu_millis=2500,
    memory=8 * 2**30,
    disk=20 * 10**9,
    time=5400,
    retries=2,
    resume=True,
    transient=(75, 5, 75),
    env={"AWS_REGION": "us-east-1", "NO_PROXY": ""},
    secrets=("dtp-irods", "dtp-irods-lab-keys", "dtp-irods-aws"),
    claim="lab-data",
    mounts=(Mount(path=""), Mount(path="shared/results", read_only=False)),
    service_account="jobs",
    groups=(2000, 3000),
    queue_allowance=7200,
    node_selector={"zone": "a"},
    tolerations=({"key": "transfer", "operator": "Exists"},),
    dns_policy="Default",
    queue="transfers",
    files=("list.txt", "more/a b.txt"),
)


def test_a_plain_job(golden: Golden) -> None:
    golden("job-plain.yaml", as_yaml(manifests.job(b.an_entry(), b.a_spec())))


def test_a_job_with_everything_set(golden: Golden) -> None:
    entry = b.an_entry("dtp-irods/Mouse_Brain.v2", 3)
    golden("job-everything.yaml", as_yaml(manifests.job(entry, EVERYTHING)))


def pod(spec: Spec) -> dict[str, Any]:
    template: dict[str, Any] = manifests.job(b.an_entry(), spec)["spec"]["template"]
    return dict(template["spec"])


def containers(spec: Spec) -> list[dict[str, Any]]:
    return [*pod(spec)["initContainers"], *pod(spec)["containers"]]


specs = st.builds(
    b.a_spec,
    cpu_millis=st.integers(1, 10**6),
    memory=st.integers(1, 2**50),
    disk=st.integers(1, 2**50),
    time=st.integers(1, 10**7),
    retries=st.integers(0, 5),
    resume=st.booleans(),
    transient=st.lists(st.integers(1, 255)).map(tuple),
    secrets=st.lists(st.sampled_from(["a", "b"])).map(tuple),
    mounts=st.sampled_from([(), (Mount(path=""),), (Mount(path="x", read_only=False),)]),
    queue_allowance=st.integers(1, 10**7),
)


@given(specs)
def test_every_pod_is_restricted(spec: Spec) -> None:
    """What Pod Security `restricted` asks for, and what it leaves open: no token, read-only."""
    assert pod(spec)["securityContext"]["runAsNonRoot"] is True
    assert pod(spec)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "fsGroup" not in pod(spec)["securityContext"], "no recursive chown of a huge volume"
    assert pod(spec)["automountServiceAccountToken"] is False
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@given(specs)
def test_every_job_runs_one_pod_at_a_time_and_ends(spec: Spec) -> None:
    job = manifests.job(b.an_entry(), spec)["spec"]
    assert (job["completions"], job["parallelism"]) == (1, 1)
    assert job["podReplacementPolicy"] == "Failed"
    assert pod(spec)["restartPolicy"] == "Never"
    assert job["backoffLimit"] == spec.retries
    assert pod(spec)["activeDeadlineSeconds"] == spec.queue_allowance + spec.time + 120
    assert job["activeDeadlineSeconds"] > pod(spec)["activeDeadlineSeconds"]
    assert job["ttlSecondsAfterFinished"] == manifests.BORN_TTL


@given(specs)
def test_amounts_are_written_as_kubernetes_reads_them(spec: Spec) -> None:
    resources = containers(spec)[1]["resources"]
    assert re.fullmatch(r"\d+m?", resources["requests"]["cpu"])
    for amount in (*resources["limits"].values(), resources["requests"]["memory"]):
        assert re.fullmatch(r"\d+([KMGT]i|[kMGT])?", amount)
    assert set(resources["limits"]) == {"memory"}, "no CPU limit: nobody is throttled"


def outcome(spec: Spec, exit_code: int = 0, *, disrupted: bool = False) -> str:
    """Return what Kubernetes does after such an end: the first rule that fits, else Count."""
    for rule in manifests.job(b.an_entry(), spec)["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes and not disrupted:
            assert codes["containerName"] == "job"
            assert 0 not in codes["values"] or codes["operator"] == "NotIn", "0 may not be In"
            if (exit_code in codes["values"]) is (codes["operator"] == "In"):
                return str(rule["action"])
        elif not codes and disrupted:
            return str(rule["action"])
    return "Count"


@given(specs, st.integers(1, 255))
def test_only_a_transient_code_of_a_job_with_retries_counts(spec: Spec, code: int) -> None:
    again = bool(spec.retries) and code in spec.transient
    assert outcome(spec, code) == ("Count" if again else "FailJob")


@pytest.mark.parametrize(("resume", "action"), [(False, "FailJob"), (True, "Ignore")])
def test_a_drained_pod_is_replaced_only_where_the_author_said_so(resume: bool, action: str) -> None:
    assert outcome(b.a_spec(resume=resume), disrupted=True) == action


def test_the_deadline_leaves_room_for_every_start() -> None:
    spec = b.a_spec(queue_allowance=100, time=50)
    assert manifests.deadline(spec) == 100 + 50 + 120 + 30
    assert manifests.deadline(replace(spec, retries=2)) == 3 * 300
    assert manifests.deadline(replace(spec, resume=True)) == 6 * 300


def test_the_job_says_whose_it_is() -> None:
    entry = b.an_entry()
    metadata = manifests.job(entry, b.a_spec())["metadata"]
    assert metadata["name"] == entry.name
    assert metadata["annotations"][ledger.ENTRY_UID] == entry.uid
    assert metadata["labels"][ledger.OUR_LABEL[0]] == ledger.OUR_LABEL[1]


def test_a_job_writes_to_its_own_directory_and_state_alone() -> None:
    entry, spec = b.an_entry(), b.a_spec()
    writable = {
        mount["subPath"]
        for mount in containers(spec)[1]["volumeMounts"]
        if mount["name"] == "claim" and not mount.get("readOnly")
    }
    assert writable == {"dtp-jobs/dtp-aws/genome", f".dtp/state/{entry.name}"}


def test_an_admin_may_hide_the_workspace_and_open_paths() -> None:
    def claimed(*mounts: Mount) -> Iterator[tuple[str, bool]]:
        for mount in containers(b.a_spec(mounts=mounts))[1]["volumeMounts"]:
            if mount["name"] == "claim" and "dtp-jobs" not in mount["mountPath"]:
                yield mount["mountPath"], mount.get("readOnly", False)

    state = ("/dtp-state", False)
    assert list(claimed()) == [state]
    assert list(claimed(Mount(path=""))) == [("/workspace", True), state]
    assert list(claimed(Mount(path="pub", read_only=False))) == [("/workspace/pub", False), state]


def test_the_scripts_bytes_are_mounted_and_never_part_of_the_job() -> None:
    assert "echo hello" not in as_yaml(manifests.job(b.an_entry(), b.a_spec()))
    volumes = {volume["name"]: volume for volume in pod(b.a_spec())["volumes"]}
    assert volumes["entry"]["configMap"]["name"] == b.an_entry().name


def test_no_variable_of_the_catalog_replaces_the_runners_own() -> None:
    env = containers(b.a_spec(env={"HOME": "/root", "DTP_UID": "x", "A": "1"}))[1]["env"]
    last = {variable["name"]: variable for variable in env}
    assert last["HOME"]["value"] == manifests.HOME
    assert "valueFrom" in last["DTP_UID"]
    assert last["A"]["value"] == "1"


def test_the_scratch_volume_is_the_one_that_the_author_is_told_about() -> None:
    message = 'Usage of EmptyDir volume "scratch" exceeds the limit "10Gi". '
    assert phases.SCRATCH_FULL.search(message)
    assert any(volume["name"] == "scratch" for volume in pod(b.a_spec())["volumes"])
