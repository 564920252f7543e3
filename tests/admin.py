"""What tests do to a real cluster as its admin: namespaces, accounts, quotas, policies, stray Jobs.

Speaks through the `kubernetes` client with plain dicts, not through the adapter under test.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import load_kube_config

from dtp_action.adapters import kube
from dtp_action.core import ledger

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
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


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
    """A namespace set up as docs/how-to/namespace.yaml does, and the dispatcher's kubeconfig."""

    name: str
    admin: Admin
    kubeconfig: str  # text; exactly kube.REQUIRED_VERBS
    claim: Path | None  # where the claim's files are on this machine, where that is known
    images: dict[str, str]  # image by short name: runner, base, …

    def connect(self) -> kube.KubeCluster:
        return kube.connect(kubeconfig=self.kubeconfig, context=None, namespace=None)

    def settle_settings(self, **changes: Any) -> None:
        """Write the cluster settings, changed by these keys of settings.yaml."""
        settings = {
            "version": 1,
            "claim": "workspace",
            "runnerImage": self.images["runner"],
            "dnsPolicy": "Default",
        }
        data = {ledger.SETTINGS_KEY: json.dumps(settings | changes)}
        try:
            self.admin.create("ConfigMap", ledger.SETTINGS_NAME, self.name, data=data)
        except ApiException as error:
            if error.status != 409:
                raise
            self.admin.patch("ConfigMap", ledger.SETTINGS_NAME, self.name, data=data)


def make_namespace(
    admin: Admin, name: str, images: dict[str, str], volumes: Path | None
) -> Namespace:
    """Make a namespace with claim, accounts, permissions and settings."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.create("Namespace", name, labels=restricted)
    claim = _make_claim(admin, name, volumes)
    for account in ("dtp-job", "dtp-dispatch"):
        admin.create("ServiceAccount", account, name)
    _grant(admin, name)
    namespace = Namespace(
        name=name,
        admin=admin,
        kubeconfig=admin.kubeconfig_for(name, "dtp-dispatch"),
        claim=claim,
        images=images,
    )
    namespace.settle_settings()
    wait_for(lambda: _is_granted(namespace), "the dispatcher's permissions to be in force")
    return namespace


def remove_namespace(admin: Admin, name: str) -> None:
    """Let it go; Kubernetes clears up in its own time."""
    admin.delete("Namespace", name)
    admin.delete("PersistentVolume", name)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
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
    return path


def _grant(admin: Admin, namespace: str) -> None:
    rules = [
        {
            "apiGroups": ["batch" if resource == "jobs" else ""],
            "resources": [resource],
            "verbs": list(verbs),
        }
        for resource, verbs in kube.REQUIRED_VERBS.items()
    ]
    admin.create("Role", "dtp-dispatch", namespace, rules=rules)
    admin.create(
        "RoleBinding",
        "dtp-dispatch",
        namespace,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "dtp-dispatch"},
        subjects=[{"kind": "ServiceAccount", "name": "dtp-dispatch", "namespace": namespace}],
    )


def _is_granted(namespace: Namespace) -> bool:
    from dtp_action.errors import ClusterRefusedError

    cluster = namespace.connect()
    try:
        cluster.namespace_uid()
        cluster.settings()
    except ClusterRefusedError:
        return False
    return True
