"""A site to be attacked: what there is, requests with the dispatcher's token, and who says no."""

from __future__ import annotations

import copy
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kubernetes.client import ApiException

from dtp_action.core import ledger, manifests
from dtp_action.core.model import Entry, Spec
from tests import builders
from tests.admin import PATHS, a_spec, wait_for
from tests.e2e.site import Site

Wire = dict[str, Any]
Call = tuple[str, str, Wire | None]  # method, path, body

NOTHING = "**nothing**"
# Who stopped it, by what was said.
SAID = {
    "ValidatingAdmissionPolicy": "policy",
    "violates PodSecurity": "Pod Security",
    "cannot \\w+ resource": "RBAC",
    "field is immutable|Invalid value|Forbidden: ": "API server",
    "Read-only file system": "read-only mount",
    "Permission denied": "file permissions",
    "[Oo]peration not permitted|are you root|resource busy|cross-device": "kernel",
    "No such file": "not there",
    "403": "RBAC",
    "000": "network",
}
PARTS = {
    "metadata": ("metadata",),
    "labels": ("spec", "template", "metadata", "labels"),
    "notes": ("spec", "template", "metadata", "annotations"),
    "job": ("spec",),
    "pod": ("spec", "template", "spec"),
    "run": ("spec", "template", "spec", "containers", "0"),
    "prep": ("spec", "template", "spec", "initContainers", "0"),
}


@dataclass(frozen=True, kw_only=True)
class Prey:
    """A site, with the requests that an attacker makes of it."""

    site: Site
    spec: Spec  # of a small job
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def namespace(self) -> str:
        return self.site.namespace.name

    # --- requests ---

    def path(self, kind: str, name: str = "", namespace: str = "") -> str:
        return PATHS[kind].format(namespace or self.namespace) + (name and f"/{name}")

    def get(self, kind: str, name: str = "", namespace: str = "") -> Call:
        return "GET", self.path(kind, name, namespace), None

    def delete(self, kind: str, name: str = "") -> Call:
        return "DELETE", self.path(kind, name), None

    def post(self, kind: str, body: Wire | None, rest: str = "", namespace: str = "") -> Call:
        return "POST", self.path(kind, namespace=namespace) + rest, body

    def patch(self, kind: str, name: str, body: Wire, *, dry: bool = False) -> Call:
        """Ask for a change; dry: without effect, where the site could not go on after it."""
        return "PATCH", self.path(kind, name) + ("?dryRun=All" if dry else ""), body

    # --- what there is ---

    def entry_manifest(self) -> Wire:
        ref = f"dtp-local/prey-{next(self.numbers)}"
        return ledger.entry_manifest(builders.a_draft(ref, spec=self.spec))

    def open_entry(self) -> Entry:
        """Make an entry; return it."""
        return ledger.load_entry(self._made("ConfigMap", self.entry_manifest())["metadata"])

    def entry(self) -> str:
        """Make an entry; return its name."""
        return self.open_entry().name

    def attributed_entry(self) -> str:
        """Make an entry whose pull request is known; return its name."""
        draft = builders.a_draft(
            f"dtp-local/prey-{next(self.numbers)}",
            spec=self.spec,
            origin=builders.an_origin(asked=True),
        )
        made = self._made("ConfigMap", ledger.entry_manifest(draft))
        return str(made["metadata"]["name"])

    def ended_entry(self) -> str:
        """Make an entry whose attempt has ended; return its name."""
        entry = self.open_entry()
        self.site.namespace.connect().settle(entry, builders.an_outcome(), "")
        return entry.name

    def job(self) -> str:
        """Make a Job whose Pod cannot start, for want of its entry; return its name."""
        manifest = manifests.job(self.some_entry(), self.spec)
        return str(self._made("Job", manifest)["metadata"]["name"])

    def ended_job(self) -> str:
        """Make a Job and end it, as the dispatcher may; return its name."""
        name = self.job()
        self.refuses(self.patch("Job", name, {"spec": {"activeDeadlineSeconds": 1}}))
        wait_for(lambda: self.status(name).get("failed"), f"the Job {name} to end", 180)
        return name

    def status(self, job: str) -> Wire:
        return dict(self.site.admin.get("Job", job, self.namespace)["status"])

    def pod(self) -> str:
        """Make a Job; return the name of its Pod."""
        name = self.job()
        (pod,) = wait_for(lambda: self.site.pods(name), f"the Pod of {name}", 180)
        return str(pod["metadata"]["name"])

    def eviction(self) -> tuple[Wire, str]:
        pod = self.pod()
        return {"metadata": {"name": pod}}, f"/{pod}/eviction"

    def some_entry(self, ref: str = "") -> Entry:
        return builders.an_entry(ref or f"dtp-local/prey-{next(self.numbers)}")

    def changed_job(self, changes: Wire) -> Wire:
        """Return a Job with other things at these places; `ref` says whose it is, `name` whose name
        it bears.
        """
        entry = self.some_entry(changes.get("ref", ""))
        entry = replace(entry, name=changes.get("name", entry.name))
        places = {key: value for key, value in changes.items() if key not in ("ref", "name")}
        return changed(manifests.job(entry, self.spec), places)

    def _made(self, kind: str, manifest: Wire) -> Wire:
        return self.site.namespace.dispatcher.call("POST", self.path(kind), manifest)

    # --- who says no ---

    def gone(self, path: str) -> bool:
        """Tell whether the object of this path is there no more, or another of its name."""
        try:
            return "deletionTimestamp" in self.site.admin.call("GET", path)["metadata"]
        except ApiException as error:
            return bool(error.status == 404)

    def refuses(self, call: Call) -> str:
        """Make a request with the dispatcher's token; return who refused it."""
        try:
            self.site.namespace.dispatcher.call(*call)
        except ApiException as error:
            return who(json.loads(str(error.body))["message"])
        return NOTHING


def who(said: str) -> str:
    """Return who says this."""
    for words, name in SAID.items():
        if re.search(words, said):
            return name
    raise AssertionError(f"who says: {said}?")


def make_prey(site: Site) -> Prey:
    settings = site.namespace.connect().settings()
    return Prey(site=site, spec=a_spec(settings, site.namespace.images["base"]))


def changed(manifest: Wire, places: Wire) -> Wire:
    """Return the manifest of a Job with other things at these places."""
    other = copy.deepcopy(manifest)
    for place, value in places.items():
        _put(other, place, value)
    return other


def _put(manifest: Wire, place: str, value: Any) -> None:
    part, _, rest = place.partition(".")
    *steps, last = (
        [*PARTS[part], *rest.split(".")]
        if part not in ("labels", "notes")
        else [
            *PARTS[part],
            rest,
        ]
    )
    at: Any = manifest
    for step in steps:
        at = at[_key(at, step)]
    if last.endswith("+"):
        at[last[:-1]] = [*at.get(last[:-1], ()), value]
    elif value is None:
        del at[last]
    else:
        at[_key(at, last)] = value


def _key(at: Any, step: str) -> Any:
    """Return what leads to a member; that of a list is named by its number or its name."""
    if not isinstance(at, list):
        return step
    return int(step) if step.isdigit() else [one["name"] for one in at].index(step)


# --- a script that tries things ------------------------------------------------------------------

HEAD = """\
#!/bin/bash
try() { # NUMBER COMMAND
  out=$(eval "$2" 2>&1 </dev/null)
  printf 'TRIED %s %s %s\\n' "$1" "$?" "$(tail -n 1 <<<"$out" | cut -c1-200)"
}
"""


def script(tries: dict[str, str]) -> str:
    """Return a script that tries all of it."""
    lines = [f"try {number} {shlex.quote(text)}" for number, text in enumerate(tries.values())]
    return HEAD + "\n".join(lines) + "\n"


def tried(site: Site, ref: str, tries: dict[str, str]) -> dict[str, tuple[int, str]]:
    """Return the exit code of each of a script's tries, and what was said."""
    log = site.logs(ref)
    told = {
        int(number): (int(code), said)
        for number, code, said in re.findall(r"^TRIED (\d+) (\d+) (.*)$", log, re.MULTILINE)
    }
    assert len(told) == len(tries), log
    return {what: told[number] for number, what in enumerate(tries)}
