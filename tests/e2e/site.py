"""A requests repository beside a namespace of a real cluster, worked with by the command line only.

What a test reads: write scripts, commit, dispatch, look at the status and at the claim's files.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from tests import preloaded
from tests.admin import PATHS, Admin, Namespace, make_namespace, remove_namespace, wait_for
from tests.e2e.shown import shown

Row = dict[str, Any]
Record = Callable[[str, object], None]  # pytest's `record_property`

DTP = Path(sys.executable).with_name("dtp")
SOURCE = "git.example.org/1#main"
PATIENCE = 420.0  # seconds until a command counts as hanging; the machine may be busy
WAIT = 400  # seconds that a dispatch waits at most for what it started
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds between looks where Kubernetes shows nothing new
NOWHERE = "localhost/dtp/base@sha256:" + 64 * "0"  # an image that no node has
ROOM = {"cpu": "10m", "memory": "64Mi", "disk": "64Mi", "time": "10m"}  # many jobs on a small node
LEGACY = (
    "aspera",
    "aws",
    "gcp",
    "irods",
    "minio",
    "ndn",
    "sra-tools",
)  # those of 2020 with a script
GIT = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
# A developer's settings have no say in tests, and commands start from bytecode as elsewhere.
OURS = re.compile(r"DTP_|GITHUB_|KUBECONFIG$|PYTHONDONTWRITEBYTECODE$")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> dict[str, Row]:
        """The jobs told, by ref."""
        return {row["ref"]: row for row in self.json["jobs"]}

    @property
    def actions(self) -> list[tuple[str, str]]:
        """What was done, as pairs of ref and action."""
        return [(row["ref"], row["action"]) for row in self.json["actions"]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One requests repository and its namespace."""

    namespace: Namespace
    directory: Path
    kubeconfig: Path
    environment: dict[str, str] = field(default_factory=dict)

    # --- the repository ---

    def write(self, ref: str, script: str | bytes) -> None:
        """Put a script on the branch, to be committed."""
        path = self.directory / "dtp-jobs" / f"{ref}.sh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(script if isinstance(script, bytes) else script.encode())

    def remove(self, ref: str) -> None:
        (self.directory / "dtp-jobs" / f"{ref}.sh").unlink()

    def commit(self, message: str = "change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def merge(self, **scripts: str | bytes) -> None:
        """Write scripts of dtp-local, named by keyword, and commit them."""
        for name, script in scripts.items():
            self.write(f"dtp-local/{name.replace('_', '-')}", script)
        self.commit()

    def write_catalog(self, **rows: dict[str, Any]) -> None:
        """Point the protocols at the test images, and add or change rows."""
        base, images = {"image": self.namespace.images["base"], **ROOM}, self.namespace.images
        protocols = {name: dict(base) for name in LEGACY} | {
            "aws": base | {"image": images["aws"], "memory": "256Mi"},
            "local": base | {"transient": {75: "try again"}},
            "bare": base | {"image": images["bare"], "interpreters": ["python3"]},
            "missing": base | {"image": NOWHERE},
        }
        path = self.directory / "dtp-jobs" / "catalog.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"version": 1, "protocols": protocols | rows}))

    def git(self, *arguments: str) -> None:
        environment = os.environ | GIT
        subprocess.run(["git", *arguments], cwd=self.directory, env=environment, check=True)

    # --- the command line ---

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Return how `dtp` is called here: argv and environment."""
        clean = {key: value for key, value in os.environ.items() if not OURS.match(key)}
        own = {"DTP_KUBECONFIG": str(self.kubeconfig), "USER": "ada"}
        return [str(DTP), "-C", str(self.directory), *arguments], clean | own | self.environment

    def dtp(self, *arguments: str) -> Result:
        """Run this checkout's `dtp` with the dispatcher's own kubeconfig."""
        done = preloaded.run(*self.command(*arguments), PATIENCE)
        return Result(code=done.returncode, out=done.stdout, err=done.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command beside the test; it is gone afterwards."""
        argv, environment = self.command(*arguments)
        with subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def dispatch(self, *arguments: str, wait: bool = False) -> Result:
        """Dispatch, and wait for the ends if asked to. Fails where dispatch itself fails."""
        seconds = str(WAIT if wait else 0)
        done = self.dtp(
            *("dispatch", "--source", SOURCE, "--format", "json", "--wait", seconds), *arguments
        )
        assert done.code in (0, 1), done.err
        return done

    def status(self, *arguments: str) -> dict[str, Row]:
        """Return each job's last attempt by ref."""
        done = self.dtp("status", "--format", "json", *arguments)
        assert done.code == 0, done.err
        return done.rows

    def job(self, ref: str) -> Row:
        return self.status(ref)[ref]

    def logs(self, ref: str, *arguments: str) -> str:
        return self.dtp("logs", ref, *arguments).out

    # --- waiting and telling ---

    def until(self, ref: str, phase: str, reason: str = "", seconds: float = PATIENCE) -> Row:
        """Wait, looking only, until a job is told to be in this phase, for a reason like this."""
        return self._asked(self.status, ref, phase, reason, seconds)

    def dispatch_until(
        self, ref: str, phase: str, reason: str = "", seconds: float = PATIENCE
    ) -> Row:
        """Dispatch as a schedule would, until a job is told to be in this phase."""
        return self._asked(lambda: self.dispatch().rows, ref, phase, reason, seconds)

    def _asked(
        self, look: Callable[[], dict[str, Row]], ref: str, phase: str, reason: str, seconds: float
    ) -> Row:
        row: Row = {}
        for _ in self.news(seconds):
            row = look().get(ref, {})
            if row.get("phase") == phase and re.search(reason, row["reason"]):
                return row
        raise AssertionError(f"waited {seconds} s for {phase} {reason}, still: {row}")

    def news(self, seconds: float) -> Iterator[None]:
        """Yield at once, and whenever Kubernetes shows something new; rarely where it does not."""
        end, pause = time.monotonic() + seconds, FIRST_PAUSE
        while True:
            before = self._shown()
            yield
            if time.monotonic() > end:
                return
            changed = self._changes(before, pause)
            pause = FIRST_PAUSE if changed else min(pause * 1.5, LONGEST_PAUSE)

    def _changes(self, before: list[Any], seconds: float) -> bool:
        """Wait until Kubernetes shows something else than before; tell whether it does in time."""
        end = time.monotonic() + seconds
        while (same := self._shown() == before) and time.monotonic() < end:
            time.sleep(0.5)
        return not same

    def _shown(self) -> list[Any]:
        return shown(self.admin, self.namespace.name)

    def has_come_to_rest(self) -> bool:
        """Tell whether, after one more run, there is nothing left to do."""
        self.dispatch()
        return not self.dispatch().actions

    # --- the claim ---

    @property
    def claim(self) -> Path:
        """The workspace's files; a test that looks there is skipped where they are elsewhere."""
        if not self.namespace.claim:
            pytest.skip("the claim's files cannot be seen from here")
        return self.namespace.claim

    def place(self, ref: str) -> Path:
        """Return a job's directory on the claim."""
        return self.claim / "dtp-jobs" / ref

    def starts(self, name: str) -> list[str]:
        """Return the starts that the fence of an attempt recorded."""
        return sorted(path.name for path in (self.claim / ".dtp/state" / name / "starts").iterdir())

    # --- what others do ---

    @property
    def admin(self) -> Admin:
        return self.namespace.admin

    def pods(self, name: str) -> list[Row]:
        """Return the Pods of a Job, as Kubernetes shows them."""
        label = "batch.kubernetes.io/job-name"
        found = self.admin.list("Pod", self.namespace.name)
        return [pod for pod in found if pod["metadata"].get("labels", {}).get(label) == name]

    def printed(self, name: str) -> str:
        """Return what a Job's Pods printed so far, with what the runner tells, without `dtp`."""
        pods = [pod["metadata"]["name"] for pod in self.pods(name)]
        return "".join(self.admin.log(pod, self.namespace.name) for pod in pods)

    def refuses(self, kind: str, spec: Row) -> bool:
        """Tell whether a policy keeps the admin from making such an object, without making it."""
        path = f"{PATHS[kind].format(self.namespace.name)}?dryRun=All"
        try:
            self.admin.call("POST", path, {"metadata": {"name": "probe"}, "spec": spec})
        except ApiException as error:
            return "ValidatingAdmissionPolicy" in str(error.body)
        return False

    def evict(self, name: str, **options: Any) -> None:
        """Evict a Job's Pod, as `kubectl drain` does with each Pod of a node."""
        pod = self.pods(name)[-1]["metadata"]["name"]
        path = f"/api/v1/namespaces/{self.namespace.name}/pods/{pod}/eviction"
        body: Row = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        self.admin.call("POST", path, body | {"deleteOptions": options})

    def delete_pod(self, name: str) -> None:
        """Delete a Job's Pod by hand, with the grace it asks for."""
        pod = self.pods(name)[-1]["metadata"]["name"]
        self.admin.call("DELETE", f"/api/v1/namespaces/{self.namespace.name}/pods/{pod}", {})

    def delete_job(self, name: str) -> None:
        """Delete a Job by hand, and wait until it is gone with its Pods."""
        self.admin.delete("Job", name, self.namespace.name)
        wait_for(lambda: not self.pods(name), f"the Pods of {name} to go")


@contextmanager
def make_site(
    admin: Admin, images: dict[str, str], volumes: Path | None, directory: Path, **values: Any
) -> Iterator[Site]:
    """Yield a fresh repository, and a namespace with the chart, of these values."""
    name = f"e-{secrets.token_hex(4)}"
    try:
        namespace = make_namespace(admin, name, images, volumes, **values)
        directory.mkdir(parents=True, exist_ok=True)
        kubeconfig = directory.with_suffix(".kubeconfig")
        kubeconfig.write_text(namespace.kubeconfig)
        site = Site(namespace=namespace, directory=directory, kubeconfig=kubeconfig)
        site.git("init", "--quiet", "--initial-branch", "main")
        site.write_catalog()
        site.commit("the site's own rows")
        yield site
    finally:
        remove_namespace(admin, name)
        if volumes:  # a Pod on its way out may still write
            shutil.rmtree(volumes / name, ignore_errors=True)


@dataclass
class Watch:
    """Measures how long something takes to be told, for the table at the end of a test run."""

    record: Record
    begun: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        self.begun = time.monotonic()

    def told(self, case: str, row: Row) -> None:
        """Note what was told of a case, and how long after the start."""
        seconds = round(time.monotonic() - self.begun, 1)
        self.record("told", [case, row["phase"], row["reason"], seconds])

    def counted(self, case: str, requests: list[str]) -> None:
        """Note how many requests a run made."""
        self.record("told", [f"cost: {case}", "", f"{len(requests)} requests", None])
