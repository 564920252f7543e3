"""What the benchmarks share: a site to measure on, timing of whole commands, telling of figures.

Each benchmark prints ratios of things measured side by side in one run. What was measured, on which
machine and when, stands in docs/explanation/performance.md.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import yaml

from tests.admin import Admin, Namespace, make_namespace, remove_namespace

DTP = str(Path(sys.executable).with_name("dtp"))
CLUSTER = Path(__file__).parents[1] / "tests" / "cluster" / "cluster"


@dataclass(frozen=True)
class Run:
    """What one command cost."""

    seconds: float
    cpu: float
    memory: int  # bytes, peak
    output: str


def run(*command: str, cwd: Path | None = None, **environment: str) -> Run:
    """Run a command to its end; it must succeed."""
    read, write = os.pipe()
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | environment, stdout=write, stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    cpu = usage.ru_utime + usage.ru_stime
    return Run(time.monotonic() - began, cpu, usage.ru_maxrss * 1024, output)


def side_by_side(times: int, **measured: Callable[[], float]) -> dict[str, float]:
    """Measure each in turn, several times over; return the medians."""
    figures: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(times):
        for name, measure in measured.items():
            figures[name].append(measure())
    return {name: median(values) for name, values in figures.items()}


def tell(title: str, **figures: str | float) -> None:
    """Print figures with the machine and the date they belong to."""
    print(f"\n## {title}\n")
    for name, value in figures.items():
        shown = f"{value:.3g}" if isinstance(value, float) else value
        print(f"- {name.replace('_', ' ')}: {shown}")


def machine() -> str:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine())  # fmt: skip
    today = datetime.now(UTC).date()
    return f"{os.cpu_count()} × {model}, {memory} GiB, Python {platform.python_version()}, {today}"


def cluster_facts() -> dict[str, str]:
    """Start the test cluster if need be; return what it tells of itself."""
    subprocess.run([CLUSTER, "up"], check=True, stdout=subprocess.DEVNULL)
    told = subprocess.run([CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in told.splitlines())


@dataclass(frozen=True)
class Bench:
    """A fresh namespace, a repository, and the command line that goes with them."""

    facts: dict[str, str]
    namespace: Namespace
    repository: Path
    kubeconfig: Path

    def write(self, scripts: dict[str, str]) -> None:
        """Commit scripts by ref."""
        for ref, text in scripts.items():
            path = self.repository / "dtp-jobs" / f"{ref}.sh"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", ".")
        self.git("commit", "-qm", "scripts")

    def git(self, *arguments: str) -> None:
        who = {f"GIT_{role}_{key}": "bench@example.org" for role in ("AUTHOR", "COMMITTER")
               for key in ("NAME", "EMAIL")}  # fmt: skip
        subprocess.run(["git", *arguments], cwd=self.repository, env=os.environ | who, check=True)

    def dtp(self, *arguments: str) -> Run:
        """Run dtp as the dispatcher's own account."""
        kubeconfig = {"DTP_KUBECONFIG": str(self.kubeconfig)}
        return run(DTP, *arguments, cwd=self.repository, **kubeconfig)

    def kubectl(self, *arguments: str) -> Run:
        """Run kubectl as the cluster's admin, in the namespace."""
        config = ["--kubeconfig", self.facts["KUBECONFIG"], "-n", self.namespace.name]
        return run(self.facts["KUBECTL"], *config, *arguments)


@contextmanager
def bench(protocols: dict[str, str] | None = None) -> Iterator[Bench]:
    """Yield a site; `protocols` maps a protocol to the short name of its test image."""
    facts = cluster_facts()
    admin = Admin(facts["KUBECONFIG"])
    images = json.loads(Path(facts["IMAGES"]).read_text())
    name = f"bench-{secrets.token_hex(3)}"
    namespace = make_namespace(admin, name, images, Path(facts["VOLUMES"]))
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "requests"
        (repository / "dtp-jobs").mkdir(parents=True)
        rows = {
            protocol: {"image": images[image], "cpu": "10m", "memory": "64Mi"}
            for protocol, image in (protocols or {"local": "base"}).items()
        }
        (repository / "dtp-jobs" / "catalog.yaml").write_text(
            yaml.safe_dump({"version": 1, "protocols": rows})
        )
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(namespace.kubeconfig)
        made = Bench(facts, namespace, repository, kubeconfig)
        made.git("init", "-q", "-b", "main", ".")
        try:
            yield made
        finally:
            remove_namespace(admin, name)


def limit_files(count: int) -> None:
    """Let this process open many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
