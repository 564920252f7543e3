"""The chart as tests use it: both Helms, values, and what they render. Needs no cluster."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from dtp_action.core import doctor

Wire = dict[str, Any]

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm"
KUBERNETES = "{}.{}".format(*doctor.OLDEST)  # a Helm without a cluster has one of its own in mind
RUNNER = "registry.example.org/dtp/runner:1"
EXISTING: Wire = {"claim": {"existing": "shared"}, "runner": {"image": RUNNER}}
NEW: Wire = {"claim": {"create": True, "size": "10Ti"}, "runner": {"image": RUNNER}}


@functools.cache
def binaries() -> tuple[Path, ...]:
    """Return Helm 3 and Helm 4: those of DTP_TEST_HELM (`PATH:PATH`), else fetched, once."""
    given = os.environ.get("DTP_TEST_HELM")
    script = ROOT / "tests" / "cluster" / "cluster"
    paths = (
        given.split(":")
        if given
        else subprocess.run(
            [script, "helm"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.split()
    )
    return tuple(map(Path, paths))


class RefusalError(Exception):
    """What Helm said when it would not."""


@dataclass(frozen=True, kw_only=True)
class Helm:
    """One Helm, for one namespace and, where it has one, one kubeconfig."""

    binary: Path
    namespace: str = "dtp"
    kubeconfig: Path | None = None

    def run(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """Run a command with values; return all that it said. Raises RefusalError."""
        done = self._call(*arguments, values=values)
        return done.stdout + done.stderr

    def template(self, values: Mapping[str, Any], *, release: str = "dtp") -> list[Wire]:
        """Return the objects that a release with these values would have, hooks among them."""
        made = self._call(
            "template", release, CHART, "--kube-version", KUBERNETES, values=values
        ).stdout
        return [one for one in yaml.safe_load_all(made) if one]

    def _call(
        self, *arguments: str | Path, values: Mapping[str, Any] | None
    ) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        config = {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}
        with NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(values or {}), file)
            file.flush()
            given = ["--values", file.name] if values is not None else []
            done = subprocess.run(
                [self.binary, "--namespace", self.namespace, *arguments, *given],
                env=clean | config,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
        if done.returncode:
            raise RefusalError(done.stdout + done.stderr)
        return done


def merged(*layers: Mapping[str, Any]) -> Wire:
    """Return values laid over each other, as Helm does."""
    result: Wire = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def find(objects: list[Wire], kind: str, name: str) -> Wire:
    """Return the one object of this kind and name."""
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def names(objects: list[Wire]) -> set[tuple[str, str]]:
    """Return kind and name of each object."""
    return {(one["kind"], one["metadata"]["name"]) for one in objects}
