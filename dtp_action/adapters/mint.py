"""Mints the kubeconfig that GitHub gets: of one account, with a token that ends.

The caller's own credentials ask for it and are no part of it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from dtp_action.adapters import kube_login
from dtp_action.adapters.kube_api import AnswerError, Request
from dtp_action.adapters.kube_login import Login, Mask
from dtp_action.core import documents, ledger
from dtp_action.errors import ClusterRefusedError, UsageError

ACCOUNT = "dtp-dispatch"


@dataclass(frozen=True, kw_only=True)
class Minted:
    """A kubeconfig's text, and how long its token is good for."""

    text: str
    ends: datetime
    seconds: int


def mint(login: Login, seconds: int, mask: Mask) -> Minted:
    """Return a kubeconfig for the dispatcher's account, tried once.

    The API server may grant less than the seconds asked for. `mask` is given each secret first.
    Raises UsageError, ClusterRefusedError, UnavailableError.
    """
    if not login.configuration.verify_ssl:
        raise UsageError(
            "your kubeconfig does not check the cluster's certificate, so it has none to pass on",
            hint="Give it the cluster's certificate-authority-data.",
        )
    token, ends, granted = _token(login, seconds)
    text = documents.dump(_kubeconfig(login, token))
    _try(text, mask)
    return Minted(text=text, ends=ends, seconds=granted)


def _token(login: Login, seconds: int) -> tuple[str, datetime, int]:
    """Ask for a token; return it, its end, and for how long it was granted."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    api = login.api()
    try:
        made = api.ask(
            Request(verb="create", resource="serviceaccounts/token", name=ACCOUNT, body=body)
        )
    except AnswerError as error:
        raise _refused(login, error) from error
    ends = ledger.instant(made["status"]["expirationTimestamp"])
    return made["status"]["token"], ends, round((ends - api.now()).total_seconds())


def _kubeconfig(login: Login, token: str) -> dict[str, Any]:
    where: dict[str, Any] = {"server": login.server}
    if authority := login.configuration.ssl_ca_cert:
        data = base64.b64encode(Path(authority).read_bytes()).decode()
        where["certificate-authority-data"] = data
    if name := login.configuration.tls_server_name:
        where["tls-server-name"] = name
    context = {"cluster": "dtp", "user": ACCOUNT, "namespace": login.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dtp",
        "clusters": [{"name": "dtp", "cluster": where}],
        "contexts": [{"name": "dtp", "context": context}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
    }


def _try(text: str, mask: Mask) -> None:
    """Use the kubeconfig as a workflow would."""
    login = kube_login.login(kubeconfig=text, context=None, namespace=None, strict=True, mask=mask)
    try:
        login.api().ask(Request(verb="get", resource="namespaces"))
    except AnswerError as error:
        proxy = "Does your kubeconfig lead through a proxy with accounts of its own (Rancher,"
        proxy += " Teleport)? Use one that leads to the API server itself."
        role = "Install the chart there again: its Role is not in force."
        hint = proxy if error.status == HTTPStatus.UNAUTHORIZED else role
        raise ClusterRefusedError(f"a token was made, and fails: {error}", hint=hint) from error


def _refused(login: Login, error: AnswerError) -> ClusterRefusedError:
    if error.status == HTTPStatus.NOT_FOUND and ACCOUNT in error.said:
        return ClusterRefusedError(
            f"namespace {login.namespace} has no account {ACCOUNT}",
            hint="Install the chart there (docs/how-to/install.md), or correct --namespace.",
        )
    if error.status == HTTPStatus.FORBIDDEN:
        return ClusterRefusedError(
            f"{login.user} may not make a token of {ACCOUNT} in namespace {login.namespace} (403)",
            hint="Kubernetes' role `admin` there may. A dispatcher cannot renew its own:"
            " docs/how-to/credentials.md says how it is renewed.",
        )
    return error
