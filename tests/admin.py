"""What tests do to a real cluster as its admin: namespaces, accounts, quotas, policies, stray Jobs.

Speaks through the `kubernetes` client with plain dicts, not through the adapter under test.
"""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import load_kube_config

from dtp_action.adapters import kube
from dtp_action.core import catalog, manifests
from dtp_action.core.catalog import Catalog, Row
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Spec
from dtp_action.errors import ClusterRefusedError
from tests import builders, chart

Wire = dict[str, Any]

PATHS = {
    "Namespace": "/api/v1/namespaces",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "ValidatingAdmissionPolicy": (
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    ),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
    ),
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{}/pods",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
ANYWHERE = "any-namespace"  # what a rendering is for, until it is known for which one


class Admin:
    """A connection with all powers."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        configuration = Configuration()
        load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
        self._client = ApiClient(configuration)

    def call(self, method: str, path: str, body: Wire | None = None) -> Wire:
        """Make one request; raises ApiException."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._client.call_api(
            path,
            method,
            body=body,
            header_params={"Accept": "application/json", "Content-Type": kind},
            auth_settings=["BearerToken"],
            response_type="object",
            _return_http_data_only=True,
            _request_timeout=20,
        )
        return dict(answer)

    def create(self, kind: str, name: str, namespace: str = "", **body: Any) -> Wire:
        """Make an object; `labels` and `annotations` go where they belong."""
        metadata = {"name": name}
        metadata |= {key: body.pop(key) for key in ("labels", "annotations") if key in body}
        return self.call("POST", PATHS[kind].format(namespace), {"metadata": metadata, **body})

    def apply(self, objects: Iterable[Wire], namespace: str) -> None:
        """Make objects, or make those that are there be like them."""

        def apply_one(wanted: Wire) -> None:
            path = PATHS[wanted["kind"]].format(namespace)
            try:
                self.call("POST", path, wanted)
            except ApiException as error:
                if error.status != 409:
                    raise
                self.call("PATCH", f"{path}/{wanted['metadata']['name']}", wanted)

        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(apply_one, objects))

    def get(self, kind: str, name: str, namespace: str = "") -> Wire:
        return self.call("GET", f"{PATHS[kind].format(namespace)}/{name}")

    def list(self, kind: str, namespace: str = "") -> list[Wire]:
        return list(self.call("GET", PATHS[kind].format(namespace))["items"])

    def patch(self, kind: str, name: str, namespace: str = "", **body: Any) -> Wire:
        return self.call("PATCH", f"{PATHS[kind].format(namespace)}/{name}", body)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object with all that hangs on it, at once; one that is gone is fine."""
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        try:
            self.call("DELETE", f"{PATHS[kind].format(namespace)}/{name}", options)
        except ApiException as error:
            if error.status != 404:
                raise

    def kubeconfig_for(self, namespace: str, account: str) -> str:
        """Return the text of a kubeconfig for a service account, good for an hour."""
        path = f"{PATHS['ServiceAccount'].format(namespace)}/{account}/token"
        token = self.call("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        configuration = self._client.configuration
        authority = Path(configuration.ssl_ca_cert).read_bytes()
        cluster = {
            "server": configuration.host,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        context = {"cluster": "test", "user": account, "namespace": namespace}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": cluster}],
                "contexts": [{"name": "test", "context": context}],
                "users": [{"name": account, "user": {"token": token}}],
            }
        )


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A namespace with the chart in it, and the kubeconfig of the chart's dispatcher."""

    name: str
    admin: Admin
    values: Wire  # of the chart
    kubeconfig: str  # text
    claim: Path | None  # where the claim's files are on this machine, where that is known
    images: dict[str, str]  # image by short name: runner, base, …

    def connect(self) -> kube.KubeCluster:
        return kube.connect(kubeconfig=self.kubeconfig, context=None, namespace=None)

    def settle_settings(self, **changes: Any) -> None:
        """Upgrade the chart, with the cluster settings changed by these keys of theirs."""
        self.admin.apply(rendered(settled(self.values, **changes), self.name), self.name)
        self.await_chart()

    def await_chart(self) -> None:
        """Wait until what the chart says is in force."""
        wait_for(self._obeys, "the chart's permissions and policies")

    def _obeys(self) -> bool:
        """Tell whether the dispatcher may make the Job of today's settings, and only that."""
        try:
            settings = self.connect().settings()
        except ClusterRefusedError:
            return False
        if self.values["profile"] == "namespace":
            return True
        spec = a_spec(settings, self.images["base"])
        job = manifests.job(builders.an_entry("dtp-local/small"), spec)
        stray = chart.merged(job, {"spec": {"parallelism": 2}})
        return not self.refusal("Job", job) and "Policy" in self.refusal("Job", stray)

    def refusal(self, kind: str, manifest: Wire) -> str:
        """Return why the dispatcher may not make this; '' where it may. Nothing is made."""
        try:
            self.dispatcher.call("POST", f"{PATHS[kind].format(self.name)}?dryRun=All", manifest)
        except ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""

    @functools.cached_property
    def dispatcher(self) -> Admin:
        """The same plain client, with the dispatcher's powers."""
        with NamedTemporaryFile("w") as file:
            file.write(self.kubeconfig)
            file.flush()
            return Admin(file.name)


def settled(values: Wire, **changes: Any) -> Wire:
    """Return values of the chart with the cluster settings changed by these keys of theirs."""
    named: Wire = {}
    if "claim" in changes:
        named = {"claim": {"existing": changes.pop("claim")}}
    return chart.merged(values, named, {"settings": changes})


@functools.cache
def _rendered(values: str) -> str:
    helm = chart.Helm(binary=chart.binaries()[0], namespace=ANYWHERE)
    objects = helm.template(json.loads(values))
    return json.dumps(
        [one for one in objects if "helm.sh/hook" not in one["metadata"].get("annotations", ())]
    )


def rendered(values: Wire, namespace: str) -> list[Wire]:
    """Return the chart's objects for a namespace, without hooks."""
    text = _rendered(json.dumps(values, sort_keys=True))
    return list(json.loads(text.replace(ANYWHERE, namespace)))


def a_spec(settings: ClusterSettings, image: str) -> Spec:
    """Return what a small job of dtp-local is to run with under these settings."""
    script = builders.a_script("dtp-local/small", cpu_millis=10, memory=64 * 2**20, time=600)
    rows = Catalog(rows={"local": Row(protocol="local", image=image)})
    spec = catalog.resolve(script, catalog=rows, settings=settings)
    assert isinstance(spec, Spec), spec
    return spec


def make_namespace(
    admin: Admin,
    name: str,
    images: dict[str, str],
    volumes: Path | None,
    **values: Any,
) -> Namespace:
    """Make a namespace with a claim and the chart, of these values."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.create("Namespace", name, labels=restricted)
    claim = _make_claim(admin, name, volumes)
    ours = {
        "profile": "namespace",
        "claim": {"existing": "workspace"},
        "runner": {"image": images["runner"]},
        "settings": {"dnsPolicy": "Default"},  # there is no DNS in the cluster
    }
    admin.apply(rendered(chart.merged(ours, values), name), name)
    namespace = Namespace(
        name=name,
        admin=admin,
        values=chart.merged(ours, values),
        kubeconfig=admin.kubeconfig_for(name, "dtp-dispatch"),
        claim=claim,
        images=images,
    )
    namespace.await_chart()
    return namespace


def remove_namespace(admin: Admin, name: str) -> None:
    """Let it go; Kubernetes clears up in its own time."""
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        for one in admin.list(kind):
            if one["metadata"]["name"].startswith(f"dtp-{name}-"):
                admin.delete(kind, one["metadata"]["name"])
    admin.delete("Namespace", name)
    admin.delete("PersistentVolume", name)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    """Return the first true value of `condition`; fail with `what` when it takes too long."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
    return value


def _make_claim(admin: Admin, namespace: str, volumes: Path | None) -> Path | None:
    """Make the claim: on a folder of this machine, or as the cluster's default class has it."""
    spec: Wire = {
        "accessModes": ["ReadWriteMany"] if volumes else ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    if not volumes:
        admin.create("PersistentVolumeClaim", "workspace", namespace, spec=spec)
        return None
    path = volumes / namespace
    path.mkdir(parents=True)
    path.chmod(0o777)
    admin.create(
        "PersistentVolume",
        namespace,
        spec={
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": "workspace"},
            "hostPath": {"path": str(path), "type": "Directory"},
        },
    )
    spec |= {"storageClassName": "", "volumeName": namespace}
    admin.create("PersistentVolumeClaim", "workspace", namespace, spec=spec)
    wait_for(lambda: _is_bound(admin, namespace), "the claim to be bound")
    return path


def _is_bound(admin: Admin, namespace: str) -> bool:
    claim = admin.get("PersistentVolumeClaim", "workspace", namespace)
    return bool(claim["status"].get("phase") == "Bound")
