"""The namespace that the how-to sets up grants what dtp needs: nothing less, nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dtp_action.adapters import kube
from dtp_action.core import cluster_settings, ledger

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "namespace.yaml"


def an_object(kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        one
        for one in yaml.safe_load_all(PAGE.read_text())
        if (one["kind"], one["metadata"]["name"]) == (kind, name)
    ]
    return dict(found)


def test_the_role_grants_exactly_the_required_verbs() -> None:
    granted = {
        resource: tuple(sorted(rule["verbs"]))
        for rule in an_object("Role", "dtp-dispatch")["rules"]
        for resource in rule["resources"]
    }
    assert granted == {key: tuple(sorted(verbs)) for key, verbs in kube.REQUIRED_VERBS.items()}


def test_the_role_is_the_dispatchers_and_jobs_have_none() -> None:
    (subject,) = an_object("RoleBinding", "dtp-dispatch")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "dtp-dispatch"}
    assert an_object("ServiceAccount", "dtp-job")["automountServiceAccountToken"] is False


def test_the_settings_are_settings() -> None:
    data = an_object("ConfigMap", ledger.SETTINGS_NAME)["data"]
    settings = cluster_settings.parse(data[ledger.SETTINGS_KEY], "the how-to")
    assert settings.service_account == "dtp-job"
    assert settings.caps == cluster_settings.Caps()
