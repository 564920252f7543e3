"""From a kubeconfig, or a Pod's own account, to a connection. Leaves the format to `kubernetes`."""

from __future__ import annotations

import io
import os
import ssl
from pathlib import Path

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, incluster_config, kube_config

from dtp_action.adapters.kube_http import HttpApi
from dtp_action.errors import UsageError

CONNECTIONS = 32  # more than dispatch has threads
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NO_PROXY = "localhost,127.0.0.0/8"
BAD = (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError)


def login(*, kubeconfig: str | None, context: str | None, namespace: str | None) -> HttpApi:
    """Return a connection to the namespace asked for, else the context's. Asks nothing yet.

    `kubeconfig` is a path, or the text itself; None means what kubectl would take, else the
    Pod's own account. Raises UsageError.
    """
    configuration = Configuration()
    source = kubeconfig or os.environ.get("KUBECONFIG") or _home()
    if source:
        user, own = _from_kubeconfig(configuration, source, context)
    else:
        user, own = _from_account(configuration)
    return HttpApi(
        pool=_pool(configuration),
        server=configuration.host,
        namespace=namespace or own or "default",
        user=user,
        authorization=lambda: configuration.get_api_key_with_prefix("authorization"),
    )


def _home() -> str | None:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.is_file() else None


def _from_kubeconfig(
    configuration: Configuration, source: str, context: str | None
) -> tuple[str, str | None]:
    """Load the credentials; return the user's name and the context's namespace."""
    try:
        merged = kube_config.KubeConfigMerger(_open(source)).config
        loader = kube_config.KubeConfigLoader(merged, active_context=context, config_base_path=None)
        loader.load_and_set(configuration)
        if configuration.cert_file:  # now rather than at a request, where it looks like the network
            tls = ssl.create_default_context()
            tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        chosen = loader.current_context["context"]
    except BAD as error:
        raise _unusable(source, error) from error
    user = str(chosen.get("user") or "an unnamed user")
    if "exec" in (loader._user or ()) and not (configuration.api_key or configuration.cert_file):
        raise _unusable(source, f"its plugin for {user} gave no credential, as the log says")
    return user, chosen.get("namespace")


def _open(source: str) -> str | io.StringIO:
    """Tell text from a path: only text spans lines, or is flow YAML."""
    if "\n" in source or source.lstrip().startswith("{"):
        return io.StringIO(source)
    missing = [path for path in source.split(os.pathsep) if not Path(path).expanduser().is_file()]
    if missing:
        raise FileNotFoundError(f"there is no file {missing[0]}")
    return source


def _from_account(configuration: Configuration) -> tuple[str, str]:
    try:
        incluster_config.load_incluster_config(configuration)
        return "the Pod's own account", (ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, OSError) as error:
        raise UsageError(
            "there is no kubeconfig, and this is not inside a Pod",
            hint="Give --kubeconfig, or set KUBECONFIG.",
        ) from error


def _pool(configuration: Configuration) -> urllib3.PoolManager:
    """Return kubernetes' own pool, with the proxy exceptions that its release 35 forgets."""
    configuration.connection_pool_maxsize = CONNECTIONS
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    configuration.no_proxy = ",".join(filter(None, [exempt, NO_PROXY]))
    if not configuration.verify_ssl:  # asked for in the kubeconfig: no line about it per request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager
    except (ValueError, urllib3.exceptions.HTTPError) as error:
        raise _unusable("the proxy settings", error) from error
    return pool


def _unusable(source: str, why: object) -> UsageError:
    name = "the kubeconfig" if "\n" in source or "{" in source else source
    return UsageError(
        f"{name} cannot be used: {' '.join(str(why).split())}",
        hint="Correct --kubeconfig or --context; `kubectl config view` shows what it holds.",
    )
