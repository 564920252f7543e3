"""Shows what an attempt would be recorded as and which Job would run it, without a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dtp_action.core import catalog, cluster_settings, documents, ledger, manifests, naming, planner
from dtp_action.core.catalog import Catalog
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Desired, Draft, Finding, Origin, Severity, Spec, Wanted
from dtp_action.errors import UsageError

EXAMPLE = """\
version: 1
claim: example-claim
runnerImage: registry.example.org/dtp/runner:1
"""


def settings(content: bytes | None) -> ClusterSettings:
    """Return the admin's settings, or an example's."""
    return cluster_settings.parse(content or EXAMPLE, "the cluster settings")


def render(desired: Desired, rows: Catalog, cluster: ClusterSettings) -> str:
    """Return the entry and the Job of each script as YAML. Raises UsageError where it is rejected.

    What only a cluster knows (UIDs, the time) and what a commit would say are placeholders.
    """
    documents_of = (_documents(wanted, rows, cluster) for wanted in desired.wanted.values())
    return "".join(f"---\n{documents.dump(one)}" for pair in documents_of for one in pair)


def _documents(wanted: Wanted, rows: Catalog, cluster: ClusterSettings) -> tuple[object, object]:
    script = wanted.script
    spec = catalog.resolve(script, catalog=rows, settings=cluster) if script else ()
    if script is None or isinstance(spec, tuple):
        found = [*wanted.findings, *_findings(spec)]
        errors = [one for one in found if one.severity is Severity.ERROR]
        why = "; ".join(error.message for error in errors)
        hint = planner.correction(errors[0])
        raise UsageError(f"{wanted.path} is rejected: {why}", hint=hint)
    attempt = script.directives.attempt or 1
    draft = Draft(
        name=naming.attempt_name(wanted.ref, attempt),
        ref=wanted.ref,
        attempt=attempt,
        blob=wanted.blob,
        origin=Origin(commit="0" * 40),
        notify=script.directives.notify,
        script=script.content,
        files=script.files,
        spec=spec,
        created=datetime(1970, 1, 1, tzinfo=UTC),
    )
    return ledger.entry_manifest(draft), job(draft)


def job(draft: Draft) -> dict[str, Any]:
    """Return the Job of an attempt that no cluster has recorded."""
    recorded = {"uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "0"}
    entry = ledger.load_entry(ledger.entry_manifest(draft)["metadata"] | recorded)
    return manifests.job(entry, draft.spec)


def _findings(spec: Spec | tuple[Finding, ...]) -> tuple[Finding, ...]:
    return spec if isinstance(spec, tuple) else ()
