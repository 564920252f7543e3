"""What the chart makes of an admin's values, with Helm 3 and Helm 4, without a cluster."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
import yaml

from dtp_action.adapters import kube
from dtp_action.core import cluster_settings, ledger, manifests
from dtp_action.errors import UsageError
from tests.chart import CHART, EXISTING, NEW, Helm, RefusalError, Wire, find, merged, names

CLUSTER: Wire = {"profile": "cluster", "quota": {"enabled": True}}
CRON: Wire = {
    "cron": {
        "enabled": True,
        "image": "registry.example.org/dtp/dtp:1",
        "repository": "https://github.com/lab/transfers.git",
        "tokenSecret": "github",
    }
}
FULL: Wire = {
    "settings": {
        "caps": {"cpu": 4, "memory": "64Gi"},
        "images": ["docker.io/amazon"],
        "grants": {"reed-lab-aws": ["ada", "grace"]},
        "visible": "own",
        "writable": ["shared/results"],
        "groups": [1_000_650_000, 5000],
        "nodeSelector": {"disk": "ssd", "spare": "true"},
        "tolerations": [{"key": "data", "operator": "Exists"}],
        "queue": "transfers",
    },
    "imagePullSecrets": ["registry"],
    "networkPolicy": {"allow": ["10.20.0.0/16"]},
    "dispatch": {"subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": "ci"}]},
}
SCENARIOS: dict[str, Wire] = {
    "a new claim": NEW,
    "a claim that exists": EXISTING,
    "a cluster's admin": merged(EXISTING, CLUSTER),
    "everything": merged(NEW, CLUSTER, FULL, CRON),
    "from inside": merged(EXISTING, CRON),
}
scenarios = pytest.mark.parametrize("values", SCENARIOS.values(), ids=SCENARIOS)

ALWAYS = {
    ("ConfigMap", "dtp-cluster"),
    ("ServiceAccount", "dtp-job"),
    ("ServiceAccount", "dtp-dispatch"),
    ("Role", "dtp-dispatch"),
    ("RoleBinding", "dtp-dispatch"),
    ("NetworkPolicy", "dtp-job"),
    ("Job", "dtp-prepare"),
    ("Pod", "dtp-test"),
}
CLAIM = ("PersistentVolumeClaim", "dtp-workspace")


@scenarios
def test_lint_finds_nothing(helm: Helm, values: Wire) -> None:
    said = helm.run("lint", "--strict", CHART, values=values)
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


@scenarios
def test_the_settings_are_read_by_the_program(helm: Helm, values: Wire) -> None:
    made = find(helm.template(values), "ConfigMap", ledger.SETTINGS_NAME)
    settings = cluster_settings.parse(made["data"][ledger.SETTINGS_KEY], "the chart")
    assert settings.claim == values["claim"].get("existing", "dtp-workspace")
    assert settings.runner_image == values["runner"]["image"]
    assert settings.service_account == "dtp-job"


def test_the_settings_say_what_the_values_say(helm: Helm) -> None:
    made = find(helm.template(merged(NEW, FULL)), "ConfigMap", ledger.SETTINGS_NAME)
    settings = cluster_settings.parse(made["data"][ledger.SETTINGS_KEY], "the chart")
    assert settings == cluster_settings.ClusterSettings(
        claim="dtp-workspace",
        runner_image=NEW["runner"]["image"],
        caps=cluster_settings.Caps(cpu_millis=4000, memory=64 * 2**30),
        images=("docker.io/amazon",),
        grants={"reed-lab-aws": ("ada", "grace")},
        visible=cluster_settings.Visible.OWN,
        writable=("shared/results",),
        groups=(1_000_650_000, 5000),
        node_selector={"disk": "ssd", "spare": "true"},
        tolerations=({"key": "data", "operator": "Exists"},),
        queue="transfers",
    )


# --- profiles and claims --------------------------------------------------------------------------


def test_the_small_profile_makes_nothing_beyond_the_namespace(helm: Helm) -> None:
    assert names(helm.template(EXISTING)) == ALWAYS
    assert names(helm.template(NEW)) == ALWAYS | {CLAIM}


def test_the_large_profile_adds_quota_and_policy(helm: Helm) -> None:
    added = names(helm.template(SCENARIOS["a cluster's admin"])) - ALWAYS
    assert ("ResourceQuota", "dtp") in added
    assert {kind for kind, _ in added} == {
        "ResourceQuota",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    assert all(name.startswith("dtp-dtp-") for kind, name in added if kind != "ResourceQuota")


def test_a_new_claim_is_kept_for_ever(helm: Helm) -> None:
    values = merged(
        NEW, {"claim": {"storageClass": "campus", "annotations": {"example.org/owner": "lab"}}}
    )
    claim = find(helm.template(values), *CLAIM)
    assert claim["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "example.org/owner": "lab",
    }
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "campus",
        "resources": {"requests": {"storage": "10Ti"}},
    }


@pytest.mark.parametrize(("given", "spec"), [("", {}), ("-", {"storageClassName": ""})])
def test_the_storage_class_may_be_the_clusters_or_none(helm: Helm, given: str, spec: Wire) -> None:
    claim = find(helm.template(merged(NEW, {"claim": {"storageClass": given}})), *CLAIM)
    assert {key: claim["spec"][key] for key in claim["spec"] if "Class" in key} == spec


REFUSED: dict[str, tuple[Wire, str]] = {
    "two claims": (
        merged(NEW, EXISTING),
        "claim.create and claim.existing exclude each other: make a new claim, or use shared.",
    ),
    "no claim": (
        {"runner": EXISTING["runner"]},
        "There is no claim: set claim.existing to the name of one, or claim.create=true",
    ),
    "no size": (merged(NEW, {"claim": {"size": ""}}), "claim.create needs claim.size"),
    "no runner": ({"claim": EXISTING["claim"]}, "runner.image is empty: name the project's"),
    "a quota without its profile": (
        merged(EXISTING, {"quota": {"enabled": True}}),
        "quota.enabled needs profile=cluster",
    ),
    "a cron without an image": (
        merged(EXISTING, CRON, {"cron": {"image": ""}}),
        "cron.enabled needs cron.image and cron.repository",
    ),
    "an offer of what is hidden": (
        merged(EXISTING, {"settings": {"visible": "own", "exposed": ["data"]}}),
        "settings.exposed has data, which services cannot see",
    ),
    "an unknown value": (merged(EXISTING, {"claim": {"exists": "x"}}), "exists"),
    "a default taken away": (merged(EXISTING, {"settings": {"groups": None}}), "groups"),
    "a value of the wrong form": (merged(EXISTING, {"profile": "admin"}), "profile"),
}


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(helm: Helm, values: Wire, sentence: str) -> None:
    with pytest.raises(RefusalError) as caught:
        helm.template(values)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "inner", "outer"),
    [
        (["shared", "shared/results"], "shared/results", "shared"),
        (["a/b/c", "other", "a"], "a/b/c", "a"),
    ],
)
def test_nested_writable_paths_are_refused_by_chart_and_program(
    helm: Helm, paths: list[str], inner: str, outer: str
) -> None:
    with pytest.raises(RefusalError) as chart:
        helm.template(merged(EXISTING, {"settings": {"writable": paths}}))
    assert f"settings.writable has {inner}, which is in {outer}: leave one" in str(chart.value)
    document = {"version": 1, "claim": "c", "runnerImage": "r.example.org/r:1", "writable": paths}
    with pytest.raises(UsageError) as program:
        cluster_settings.parse(yaml.safe_dump(document), "the chart")
    assert f"`{inner}` is in `{outer}`: leave one of them out" in program.value.message


def test_writable_paths_that_begin_alike_are_admitted(helm: Helm) -> None:
    assert helm.template(merged(EXISTING, {"settings": {"writable": ["shared", "shared-2"]}}))


# --- identities -----------------------------------------------------------------------------------


def test_the_role_grants_exactly_the_required_verbs(helm: Helm) -> None:
    rules = find(helm.template(EXISTING), "Role", "dtp-dispatch")["rules"]
    granted = {
        (group, resource): tuple(sorted(rule["verbs"]))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {
        ("batch" if resource == "jobs" else "", resource): tuple(sorted(verbs))
        for resource, verbs in kube.REQUIRED_VERBS.items()
    }


def test_nobody_but_the_dispatcher_and_whom_the_admin_names_is_bound(helm: Helm) -> None:
    binding = find(helm.template(merged(EXISTING, FULL)), "RoleBinding", "dtp-dispatch")
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "dtp-dispatch", "namespace": "dtp"},
        {"kind": "ServiceAccount", "name": "runner", "namespace": "ci"},
    ]


def test_no_accounts_token_is_mounted_by_itself(helm: Helm) -> None:
    made = helm.template(merged(EXISTING, FULL))
    for name in ("dtp-job", "dtp-dispatch"):
        account = find(made, "ServiceAccount", name)
        assert account["automountServiceAccountToken"] is False
        assert account["imagePullSecrets"] == [{"name": "registry"}]


# --- Pods of the chart ----------------------------------------------------------------------------


def pods(objects: list[Wire]) -> dict[str, Wire]:
    """Return the spec of each Pod that the chart's objects lead to, by the object's kind."""
    found = {}
    for one in objects:
        match one["kind"]:
            case "Pod":
                found["Pod"] = one["spec"]
            case "Job":
                found["Job"] = one["spec"]["template"]["spec"]
            case "CronJob":
                found["CronJob"] = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def test_pods_of_the_chart_have_no_token_but_the_cron(helm: Helm) -> None:
    found = pods(helm.template(SCENARIOS["everything"]))
    accounts = {
        kind: (pod["serviceAccountName"], pod["automountServiceAccountToken"])
        for kind, pod in found.items()
    }
    assert accounts == {
        "Job": ("dtp-job", False),
        "Pod": ("dtp-job", False),
        "CronJob": ("dtp-dispatch", True),
    }


def test_pods_of_the_chart_run_where_and_as_jobs_run(helm: Helm) -> None:
    found = pods(helm.template(SCENARIOS["everything"]))
    for kind in ("Job", "Pod"):
        assert found[kind]["nodeSelector"] == FULL["settings"]["nodeSelector"]
        assert found[kind]["tolerations"] == FULL["settings"]["tolerations"]
        assert found[kind]["securityContext"]["supplementalGroups"] == [1_000_650_000, 5000]
        assert found[kind]["securityContext"]["runAsUser"] == 1000
    assert found["Job"]["securityContext"]["runAsGroup"] == 1_000_650_000


def test_without_groups_the_claim_is_prepared_for_one_user(helm: Helm) -> None:
    found = pods(helm.template(merged(EXISTING, {"settings": {"groups": []}})))
    assert found["Job"]["securityContext"]["runAsGroup"] == 1000
    assert found["Job"]["securityContext"]["supplementalGroups"] == []


def test_a_hook_that_cannot_start_ends_by_its_pods_deadline_so_that_the_pod_stays(
    helm: Helm,
) -> None:
    """Past its own deadline a Job deletes its Pod, which `kubectl describe` would need."""
    made = helm.template(EXISTING)
    job, found = find(made, "Job", "dtp-prepare")["spec"], pods(made)
    assert found["Job"]["activeDeadlineSeconds"] == found["Pod"]["activeDeadlineSeconds"] == 120
    assert 2 * 120 < job["activeDeadlineSeconds"] < 300
    assert job["ttlSecondsAfterFinished"] >= 3600


def test_the_test_is_locked_down_as_a_job_is(helm: Helm) -> None:
    pod = pods(helm.template(EXISTING))["Pod"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == manifests._locked_down()


def test_the_claim_is_prepared_with_the_paths_that_jobs_may_write_to(helm: Helm) -> None:
    """Kubernetes reads `$$` in a variable as `$`, and `$(NAME)` as another variable."""
    paths = ["shared/results", "a $(DTP_CLAIM) \"b\" 'c'"]
    made = helm.template(merged(EXISTING, {"settings": {"writable": paths}}))
    told = environment(pods(made)["Job"])["DTP_WRITABLE"]
    assert told.replace("$$", "$").split("\n") == paths
    assert "$$(DTP_CLAIM)" in told


def environment(pod: Wire) -> dict[str, Any]:
    listed = pod["containers"][0]["env"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in listed}


def test_the_cron_is_told_which_branch_of_which_repository(helm: Helm) -> None:
    told = environment(pods(helm.template(SCENARIOS["from inside"]))["CronJob"])
    assert told["DTP_REPOSITORY"] == "https://github.com/lab/transfers.git"
    assert told["DTP_GITHUB_REPOSITORY"] == "lab/transfers"
    assert told["GITHUB_SERVER_URL"] == "https://github.com"
    assert told["DTP_BRANCH"] == "main"
    assert told["DTP_GITHUB_TOKEN"] == {"secretKeyRef": {"name": "github", "key": "token"}}


def test_a_cron_needs_no_token_where_the_repository_is_public(helm: Helm) -> None:
    values = merged(SCENARIOS["from inside"], {"cron": {"tokenSecret": ""}})
    assert environment(pods(helm.template(values))["CronJob"])["DTP_GITHUB_TOKEN"] == ""


def test_no_script_means_something_else_to_kubernetes() -> None:
    """It would replace `$(NAME)` by a variable and `$$` by `$`."""
    for script in (CHART / "files").glob("*.sh"):
        text = script.read_text()
        assert "$$" not in text
        assert "$(DTP" not in text


def test_the_chart_bears_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version("dtp-requests")
