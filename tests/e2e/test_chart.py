"""The chart on a real cluster, installed by those who are to install it, with Helm 3 and Helm 4."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dtp_action.core import ledger
from tests import node
from tests.admin import PATHS, Admin, Namespace, Wire, remove_namespace, wait_for
from tests.chart import CHART, ROOT, Helm, RefusalError, binaries, merged
from tests.e2e.site import Site
from tests.helm.test_scenarios import FULL, SCENARIOS, pods

MORE_PATHS = {"CronJob": "/apis/batch/v1/namespaces/{}/cronjobs"}
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
HELLO = "#!/bin/bash\necho hello >greeting\n"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A namespace, a volume for its claim, and somebody with the role `admin` in it."""

    admin: Admin
    name: str
    root: Path  # of the claim
    images: dict[str, str]
    helm: Helm  # as the namespace's admin

    @property
    def as_clusters_admin(self) -> Place:
        return replace(self, helm=replace(self.helm, kubeconfig=Path(self.admin.kubeconfig)))

    def values(self, **more: Any) -> Wire:
        new = {"create": True, "size": "1Gi", "storageClass": "-"}
        return merged(
            {
                "claim": new,
                "runner": {"image": self.images["runner"]},
                "settings": {"dnsPolicy": "Default"},
            },
            more,
        )

    def install(self, **more: Any) -> str:
        return self.helm.run("install", "transfers", CHART, values=self.values(**more))

    def upgrade(self, **more: Any) -> str:
        return self.helm.run("upgrade", "transfers", CHART, values=self.values(**more))

    def site(self, directory: Path, config: str = "") -> Site:
        """Return a requests repository that is dispatched with the chart's own account."""
        config = config or self.admin.kubeconfig_for(self.name, "dtp-dispatch")
        directory.mkdir(exist_ok=True)
        kubeconfig = directory.with_suffix(".kubeconfig")
        kubeconfig.write_text(config)
        namespace = Namespace(
            name=self.name,
            admin=self.admin,
            values=self.values(),
            kubeconfig=config,
            claim=self.root,
            images=self.images,
        )
        return Site(namespace=namespace, directory=directory, kubeconfig=kubeconfig)

    def has(self, kind: str, name: str) -> bool:
        return name in {one["metadata"]["name"] for one in self.admin.list(kind, self.name)}

    def log_of(self, job: str) -> str:
        label = f"labelSelector=batch.kubernetes.io/job-name={job}"
        path = PATHS["Pod"].format(self.name)
        (pod,) = self.admin.call("GET", f"{path}?{label}")["items"]
        return self.admin.log(pod["metadata"]["name"], self.name)


@contextmanager
def a_place(
    admin: Admin, images: dict[str, str], volumes: Path, binary: Path, folder: Path
) -> Iterator[Place]:
    """Yield a fresh place; its volume is a folder that everybody may write to."""
    name = f"c-{secrets.token_hex(4)}"
    root = volumes / name
    root.mkdir()
    root.chmod(0o777)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.create("Namespace", name, labels=restricted)
    admin.create("PersistentVolume", name, spec=_volume(name, root))
    kubeconfig = folder / "ada.kubeconfig"
    kubeconfig.write_text(somebody(admin, name, "ada", "admin"))
    helm = Helm(binary=binary, namespace=name, kubeconfig=kubeconfig)
    try:
        yield Place(admin=admin, name=name, root=root, images=images, helm=helm)
    finally:
        remove_namespace(admin, name)
        shutil.rmtree(root, ignore_errors=True)


def somebody(admin: Admin, namespace: str, name: str, role: str = "") -> str:
    """Return the kubeconfig of somebody new, who has one of Kubernetes' own roles there."""
    admin.create("ServiceAccount", name, namespace)
    if role:
        admin.create(
            "RoleBinding",
            name,
            namespace,
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        )
    return admin.kubeconfig_for(namespace, name)


def _volume(name: str, root: Path, **more: Any) -> Wire:
    return {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"namespace": name, "name": "dtp-workspace"},
        "hostPath": {"path": str(root), "type": "Directory"},
        **more,
    }


Places = Callable[[int], AbstractContextManager[Place]]


@pytest.fixture(scope="session")
def places(
    admin: Admin,
    images: dict[str, str],
    cluster_facts: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Places:
    volumes = cluster_facts.get("VOLUMES")

    @contextmanager
    def make(which: int) -> Iterator[Place]:
        if not volumes:
            pytest.skip("the claim's files cannot be seen from here")
        folder = tmp_path_factory.mktemp("place")
        with (
            node.shared(cluster_facts),
            a_place(admin, images, Path(volumes), binaries()[which], folder) as made,
        ):
            yield made

    return make


@pytest.fixture(params=[0, 1], ids=["helm3", "helm4"])
def place(request: pytest.FixtureRequest, places: Places) -> Iterator[Place]:
    """Yield a fresh place, with one Helm and then with the other."""
    with places(request.param) as made:
        yield made


@pytest.fixture
def one_place(places: Places) -> Iterator[Place]:
    """Yield a fresh place for what is the same with both Helms."""
    with places(0) as made:
        yield made


# --- install, upgrade, uninstall ------------------------------------------------------------------


def test_the_role_admin_in_the_namespace_is_enough(place: Place, tmp_path: Path) -> None:
    said = place.install()
    assert f"dtp doctor --namespace {place.name}" in said
    assert (place.root / "dtp-jobs").stat().st_mode & 0o7777 == 0o2775
    assert not place.has("Job", "dtp-prepare"), "the hook leaves nothing"
    assert "a job can write to the claim and read from it" in place.helm.run("test", "transfers")
    assert not list((place.root / "dtp-jobs").iterdir()), "the test leaves nothing"
    site = a_site(place, tmp_path)
    assert site.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"
    assert (place.root / "dtp-jobs/dtp-local/hello/greeting").read_text() == "hello\n"


def test_the_large_profile_is_a_cluster_admins_upgrade_there_and_back(
    place: Place, tmp_path: Path
) -> None:
    large = {"profile": "cluster", "quota": {"enabled": True}}
    place.install()
    with pytest.raises(RefusalError, match="forbidden"):
        place.upgrade(**large)
    place.as_clusters_admin.upgrade(**large)
    assert place.has("ResourceQuota", "dtp")
    assert policies(place)
    assert "a job can write" in place.helm.run("test", "transfers")
    site = a_site(place, tmp_path)
    assert site.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"
    with pytest.raises(RefusalError, match="forbidden"):
        place.upgrade(**large)
    place.as_clusters_admin.upgrade()
    assert not policies(place)
    assert not place.has("ResourceQuota", "dtp")


def test_an_upgrade_changes_what_the_next_attempt_may_and_runs_nothing_again(
    place: Place, tmp_path: Path
) -> None:
    place.install()
    site = a_site(place, tmp_path)
    assert site.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"
    place.upgrade(settings={"caps": {"time": "5m"}})
    assert not site.dispatch().actions
    site.merge(long="#!/bin/bash\n#DTP time=1h\necho\n")
    (rejected,) = site.dispatch().json["rejected"]
    assert "5m" in rejected["message"]


def test_uninstalling_takes_powers_away_and_no_data(place: Place, tmp_path: Path) -> None:
    place.install()
    site = a_site(place, tmp_path)
    entry = site.dispatch(wait=True).rows["dtp-local/hello"]["name"]
    place.helm.run("uninstall", "transfers")
    assert site.dtp("status").code == 4, "the old kubeconfig ended with its account"
    kept = [("PersistentVolumeClaim", "dtp-workspace"), ("ConfigMap", ledger.LEDGER_NAME)]
    kept += [("ConfigMap", entry), ("ConfigMap", f"{entry}-end"), ("Job", entry)]
    assert all(place.has(kind, name) for kind, name in kept)
    gone = [("ConfigMap", "dtp-cluster"), ("ServiceAccount", "dtp-dispatch")]
    assert not any(place.has(kind, name) for kind, name in gone)
    assert (place.root / "dtp-jobs/dtp-local/hello/greeting").exists()

    place.install()  # again: it takes the claim up, and the ledger goes on
    again = place.site(site.directory)
    assert again.job("dtp-local/hello")["phase"] == "SUCCEEDED"
    assert not again.dispatch().actions


def test_a_running_job_outlives_its_release(one_place: Place, tmp_path: Path) -> None:
    place = one_place
    place.install()
    site = a_site(place, tmp_path, "#!/bin/bash\nuntil [ -e go ]; do sleep 1; done\n")
    site.dispatch()
    site.until("dtp-local/hello", "RUNNING")
    place.helm.run("uninstall", "transfers")
    (place.root / "dtp-jobs/dtp-local/hello/go").touch()
    place.install()
    again = place.site(site.directory)
    assert again.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"


def test_purging_leaves_nothing_of_ours(one_place: Place, tmp_path: Path) -> None:
    place = one_place
    place.install()
    name = a_site(place, tmp_path).dispatch().rows["dtp-local/hello"]["name"]
    place.helm.run("uninstall", "transfers")
    page = (ROOT / "docs" / "how-to" / "uninstall.md").read_text()
    (selector,) = re.findall(r"delete jobs,configmaps --selector (\S+)", page)
    for kind in ("Job", "ConfigMap"):
        path = f"{PATHS[kind].format(place.name)}?labelSelector={quote(selector)}"
        place.admin.call("DELETE", path, {"propagationPolicy": "Background"})
    left = [one["metadata"]["name"] for one in place.admin.list("ConfigMap", place.name)]
    assert left == ["kube-root-ca.crt"]
    wait_for(lambda: not place.has("Job", name), "the Job to go")


def test_objects_made_by_hand_are_taken_over(place: Place) -> None:
    for account in ("dtp-job", "dtp-dispatch"):
        place.admin.create("ServiceAccount", account, place.name)
    with pytest.raises(RefusalError, match="cannot be imported into the current release"):
        place.install()
    place.helm.run("install", "transfers", CHART, "--take-ownership", values=place.values())
    assert place.has("Role", "dtp-dispatch")


def test_a_volume_that_waits_for_its_first_pod_is_made_and_prepared(place: Place) -> None:
    """As kind's storage class does it. The class is the cluster's: it is taken away again."""
    place.admin.delete("PersistentVolume", place.name)
    wait_for(lambda: not place.has("PersistentVolume", place.name), "the other volume to go")
    place.admin.call(
        "POST",
        CLASSES,
        {
            "metadata": {"name": place.name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    )
    try:
        volume = _volume(place.name, place.root, storageClassName=place.name, claimRef=None)
        here = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
        volume |= {
            "hostPath": None,
            "local": {"path": str(place.root)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        place.admin.create("PersistentVolume", place.name, spec=volume)
        place.install(claim={"storageClass": place.name})
        assert (place.root / "dtp-jobs").is_dir()
    finally:
        place.admin.call("DELETE", f"{CLASSES}/{place.name}", {})


# --- who else may dispatch ------------------------------------------------------------------------


def test_with_the_role_edit_one_dispatches_as_oneself(one_place: Place, tmp_path: Path) -> None:
    one_place.install()
    grace = somebody(one_place.admin, one_place.name, "grace", "edit")
    site = a_site(one_place, tmp_path, config=grace)
    assert site.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"


def test_whom_the_admin_names_is_a_dispatcher(one_place: Place, tmp_path: Path) -> None:
    runner = somebody(one_place.admin, one_place.name, "runner")
    subject = {"kind": "ServiceAccount", "name": "runner", "namespace": one_place.name}
    one_place.as_clusters_admin.install(profile="cluster", dispatch={"subjects": [subject]})
    site = a_site(one_place, tmp_path, config=runner)
    assert site.dispatch(wait=True).rows["dtp-local/hello"]["phase"] == "SUCCEEDED"


def a_site(place: Place, tmp_path: Path, script: str = HELLO, config: str = "") -> Site:
    """Return a requests repository with one script on its branch."""
    site = place.site(tmp_path / "requests", config)
    site.git("init", "--quiet", "--initial-branch", "main")
    site.write_catalog()
    site.merge(hello=script)
    return site


def policies(place: Place) -> list[str]:
    """Return the names of the namespace's admission policies."""
    listed = place.admin.list("ValidatingAdmissionPolicy")
    names = [one["metadata"]["name"] for one in listed]
    return [name for name in names if name.startswith(f"dtp-{place.name}-")]


# --- a root that is closed ------------------------------------------------------------------------


def test_where_the_root_is_closed_helm_prints_what_the_storages_admin_does(place: Place) -> None:
    place.root.chmod(0o755)
    with pytest.raises(RefusalError) as caught:
        place.install()
    said = str(caught.value)
    assert "dtp-jobs cannot be made: Permission denied." in said
    log = place.log_of("dtp-prepare")
    (command,) = [line.strip() for line in log.splitlines() if line.startswith("    ")]
    assert command in said, "Helm says it too; Helm 4 has \\n for each new line"
    subprocess.run(["sh", "-c", command], cwd=place.root, check=True)
    place.upgrade()
    assert "a job can write" in place.helm.run("test", "transfers")


def test_a_hook_whose_image_cannot_be_pulled_ends_soon_and_its_pod_says_why(place: Place) -> None:
    wrong = "localhost/dtp/runner@sha256:" + "1" * 64
    begun = time.monotonic()
    with pytest.raises(RefusalError, match="dtp-prepare"):
        place.install(runner={"image": wrong})
    assert time.monotonic() - begun < 200
    described = ["kubectl", "-n", place.name, "describe", "pod", "-l", "job-name=dtp-prepare"]
    own = {"PATH": os.environ["PATH"], "KUBECONFIG": place.admin.kubeconfig}
    told = subprocess.run(described, env=own, capture_output=True, text=True, check=True)
    assert "Failed to pull image" in told.stdout
    place.upgrade()
    assert "a job can write" in place.helm.run("test", "transfers")


# --- what the API server says ---------------------------------------------------------------------


@pytest.mark.parametrize("values", SCENARIOS.values(), ids=SCENARIOS)
def test_every_object_is_as_kubernetes_has_it(one_place: Place, values: Wire) -> None:
    """Field by field: with strict validation the server refuses what it does not know."""
    for account in ("dtp-job", "dtp-dispatch"):  # Pods are refused without
        one_place.admin.create("ServiceAccount", account, one_place.name)
    made = one_place.helm.template(values)
    for one in (one for one in made if one["kind"] != "ServiceAccount"):
        path = (PATHS | MORE_PATHS)[one["kind"]].format(one_place.name)
        one_place.admin.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", one)


def test_pods_of_the_chart_are_restricted(one_place: Place) -> None:
    """The namespace enforces Pod Security, and the accounts that Pods need are there."""
    one_place.install(prepare={"enabled": False})
    for kind, pod in pods(one_place.helm.template(SCENARIOS["everything"])).items():
        body = {"metadata": {"name": kind.lower()}, "spec": pod}
        path = PATHS["Pod"].format(one_place.name)
        one_place.admin.call("POST", f"{path}?dryRun=All", body)


# --- what is told ---------------------------------------------------------------------------------


def notes(place: Place, values: Wire) -> str:
    said = place.helm.run("install", "transfers", CHART, "--dry-run=server", values=values)
    return said.partition("NOTES:\n")[2]


def test_the_notes_name_the_next_three_commands(place: Place) -> None:
    said = notes(place, SCENARIOS["a claim that exists"])
    assert "on the claim shared" in said
    assert f"dtp kubeconfig --namespace {place.name} | gh secret set KUBECONFIG" in said
    assert f"dtp doctor --namespace {place.name}" in said
    assert "gh workflow run dispatch.yml" in said
    assert f"helm --namespace {place.name} test transfers" in said
    assert "kubectl label namespace" not in said, "it bears the label"


def test_the_notes_ask_for_the_label_that_is_missing(one_place: Place) -> None:
    labels = {"pod-security.kubernetes.io/enforce": None}
    one_place.admin.patch("Namespace", one_place.name, metadata={"labels": labels})
    said = notes(one_place, merged(SCENARIOS["a claim that exists"], FULL))
    label = "pod-security.kubernetes.io/enforce=restricted"
    assert f"kubectl label namespace {one_place.name} {label}" in said


def test_with_a_cron_the_first_dispatch_is_its_job(one_place: Place) -> None:
    said = notes(one_place, SCENARIOS["from inside"])
    assert "create job --from=cronjob/dtp-dispatch" in said
    assert "gh workflow run" not in said
