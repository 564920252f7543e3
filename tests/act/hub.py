"""A requests repository with its GitHub and its runner: real git, the stand-in, and `act`.

`act` runs the workflows on this machine, without containers, from the callers to `action.yml` to
`dtp`. What it does not do is done here or not at all. Here: which commit a workflow is taken from
for an event, what the token may do (from the job's `permissions`), no secret for a fork. Not at
all: branch and path filters, environments, concurrency groups, schedules, and masking of more than
whole values: these are tests of what a run does, not of whether GitHub begins one. What `act` does
not know in the workflows is put into words that it knows (`_for_act`).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.act import events
from tests.e2e.site import OURS
from tests.github.branches import Branches
from tests.github.fake import REPOSITORY, TOKEN, Comment, GitHub, Pull, WorkflowRun

Wire = dict[str, Any]

ROOT = Path(__file__).parents[2]
STUBS = Path(__file__).parent / "stubs"
EXAMPLES = ROOT / "docs/examples"
RUNNERS = ("ubuntu-slim", "ubuntu-24.04", "ubuntu-latest")
PATIENCE = 600.0  # seconds until a run counts as hanging; the machine may be busy
SCOPES = {  # as the stand-in has
    "pull-requests": "write", "issues": "write", "statuses": "write", "actions": "read",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of a workflow left: its exit code and what the runner noted, in order."""

    code: int
    notes: tuple[Wire, ...]
    trouble: str

    @property
    def log(self) -> str:
        """Return what the steps printed, as the runner shows it."""
        return "".join(note["msg"] for note in self.notes if note.get("raw_output"))

    @property
    def summary(self) -> str:
        """Return the step summaries."""
        return "".join(note["content"] for note in self.notes if note.get("command") == "summary")

    @property
    def outputs(self) -> dict[str, str]:
        """Return what the steps put out, the last of each name."""
        return {n["name"]: n["arg"] for n in self.notes if n.get("command") == "set-output"}

    def annotations(self, level: str) -> list[tuple[str, str]]:
        """Return place and text of each annotation of a level."""
        return [
            (":".join(note["kvPairs"].get(key, "") for key in ("file", "line")), note["arg"])
            for note in self.notes
            if note.get("command") == level
        ]

    @property
    def jobs(self) -> set[str]:
        """Return which jobs began a step."""
        return {note["jobID"] for note in self.notes if "jobID" in note and "stepID" in note}

    @property
    def commands(self) -> set[str]:
        """Return which workflow commands the runner obeyed."""
        return {note["command"] for note in self.notes if "command" in note} - {"ignored"}

    @property
    def masked(self) -> set[str]:
        """Return what the runner was told to mask."""
        return {note["arg"] for note in self.notes if note.get("command") == "add-mask"}

    @property
    def all_shown(self) -> str:
        """Return everything that anybody may read of the run."""
        return self.log + self.summary + "".join(str(n["msg"]) for n in self.notes)


@dataclass
class Hub:
    """One requests repository; `secrets` are what its environment holds."""

    root: Path
    github: GitHub
    project: Path  # what `scidas/dtp-requests@v1` stands for
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: {"DTP_ENABLED": "true"})
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        self.branches = Branches(self.root / "github.com", self.github)
        self.branches.git("config", "uploadpack.allowAnySHA1InWant", "true")

    # --- the repository ---

    def lay_workflows(self, folder: Path, changes: Mapping[str, str]) -> None:
        """Put a folder's workflows on main, with what its maintainer changes in them."""
        for path in folder.glob("*.yml"):
            text = path.read_text()
            for old, new in changes.items():
                text = text.replace(old, new)
            self.lay_workflow(path.stem, text)

    def lay_workflow(self, name: str, text: str) -> None:
        """Put a workflow on main."""
        files: dict[str, str | None] = {f".github/workflows/{name}.yml": _for_act(text)}
        self.branches.commit(files, f"the workflow {name}")

    def merge(self, pull: Pull) -> str:
        """Merge a pull request; return the commit."""
        return self.branches.merge(pull)

    def pull(self, number: int, *, fork: str = "", base: str = "main", **scripts: str) -> Pull:
        """Open a pull request that adds scripts of dtp-local, named by keyword."""
        files: dict[str, str | None] = {
            f"dtp-jobs/dtp-local/{name.replace('_', '-')}.sh": text
            for name, text in scripts.items()
        }
        return self.open_pull(number, files, fork=fork, base=base)

    def open_pull(
        self,
        number: int,
        files: dict[str, str | None],
        *,
        fork: str = "",
        base: str = "main",
        branch: str = "",
    ) -> Pull:
        """Open a pull request that changes files, from a fork's branch if one is named."""
        pull = self.branches.pull(number, files, base=base, fork=fork)
        self.branches.git("checkout", "--quiet", base)
        pull.branch = branch or pull.branch
        return pull

    # --- what happens ---

    def push(self, branch: str = "main", sender: str = "grace") -> Run:
        """Run what a push of the branch's head begins."""
        head, before = self.branches.head(branch), self.branches.head(f"{branch}~")
        payload = events.push(branch, before, head, sender)
        return self.run("dispatch", "push", payload, branch=branch, actor=sender)

    def schedule(self) -> Run:
        return self.run("schedule", "schedule", events.schedule(), actor=REPOSITORY.split("/")[0])

    def by_hand(self, command: str, job: str = "", *, ident: str = "", **inputs: str) -> Run:
        """Run the workflow by hand; the id of a run stays when it is run again."""
        asked = {"command": command, "job": job, **inputs}
        payload = events.workflow_dispatch("main", "grace", **asked)
        return self.run("dispatch", "workflow_dispatch", payload, ident=ident)

    def preview(self, pull: Pull, title: str = "A transfer") -> Run:
        """Run what opening a pull request begins."""
        return self.on_pull_request(pull, "preview", "pull_request", title)

    def on_pull_request(
        self, pull: Pull, workflow: str, event: str, title: str = "A transfer"
    ) -> Run:
        """Run a workflow on the merge of a pull request with its base, as GitHub has it."""
        base = self.branches.head(pull.base)
        self.branches.git("checkout", "--quiet", "--detach", base)
        self.branches.git("merge", "--quiet", "--no-ff", "--message=merge", pull.head)
        merge = self.branches.head()
        self.branches.git("update-ref", f"refs/pull/{pull.number}/merge", merge)
        self.branches.git("checkout", "--quiet", pull.base)
        payload = events.pull_request(pull, base, title)
        return self.run(
            workflow,
            event,
            payload,
            commit=merge,
            actor=pull.author or "ghost",
            trusted=not pull.fork,
        )

    def preview_comment(self, pull: Pull) -> Run:
        """Run what the end of the preview run begins."""
        return self.run("preview-comment", "workflow_run", events.workflow_run(pull))

    def comment(self, number: int, text: str, author: str = "grace") -> Run:
        """Write a comment on a pull request, and run what it begins."""
        return self.answer(self.github.comment(number, text, author))

    def answer(self, comment: Comment) -> Run:
        """Run what a comment begins."""
        author = self.github.pulls[comment.number].author or "ghost"
        payload = events.issue_comment(comment, author)
        return self.run("command", "issue_comment", payload, actor=comment.author or "ghost")

    # --- the runner ---

    def run(
        self,
        workflow: str,
        event: str,
        payload: Wire,
        *,
        branch: str = "main",
        commit: str = "",
        actor: str = "grace",
        trusted: bool = True,
        ident: str = "",
    ) -> Run:
        """Run one workflow, as it stands at the commit, for an event."""
        number = str(next(self.numbers))
        folder = self.root / "runs" / number
        place = self._clone(folder, branch, commit or self.branches.head(branch))
        file = place / f".github/workflows/{workflow}.yml"
        self.github.denied = set(SCOPES) - _granted(file)
        seen = {"private": self.github.visibility != "public", "visibility": self.github.visibility}
        payload["repository"] |= seen
        (folder / "event.json").write_text(json.dumps(payload))
        secrets = {"GITHUB_TOKEN": TOKEN} | (self.secrets if trusted else {})
        given = {
            "secret": secrets,
            "var": self.variables,
            "platform": dict.fromkeys(RUNNERS, "-self-hosted"),
            "local-repository": self._actions(),
            "env": {
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_REPOSITORY_ID": "42",
                "GITHUB_API_URL": self.github.url,
                "GITHUB_RUN_ID": ident or number,
            },
        }
        argv = [sys.executable.replace("python", "act"), event, "--json", "--no-cache-server"]
        argv += ["--no-skip-checkout", f"--directory={place}", f"--workflows={file}"]
        argv += [f"--eventpath={folder}/event.json", f"--action-cache-path={folder}/act"]
        argv += [f"--actor={actor}"]
        argv += [f"--{k}={name}={value}" for k, v in given.items() for name, value in v.items()]
        done = subprocess.run(
            argv,
            env=self._environment(folder),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        fork = "" if trusted else "mallory/requests"
        of_pull = "pull_request" in payload
        ran = self.github.ran(
            workflow=f"{workflow}.yml",
            event=event,
            branch=payload["pull_request"]["head"]["ref"] if of_pull else branch,
            commit=payload["pull_request"]["head"]["sha"]
            if of_pull
            else self.branches.head(branch),
            fork=fork,
        )
        self._take_up(folder / "artifacts", ran)
        shutil.rmtree(folder / "act", ignore_errors=True)
        notes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return Run(code=done.returncode, notes=tuple(notes), trouble=done.stderr.decode())

    def _clone(self, folder: Path, branch: str, commit: str) -> Path:
        """Return a checkout of the commit, from which `act` takes the workflow and the ref."""
        place = folder / "workflow"
        git = self.branches.git
        git("clone", "--quiet", "--no-checkout", str(self.branches.root), str(place))
        git("-C", str(place), "fetch", "--quiet", "origin", commit)
        git("-C", str(place), "checkout", "--quiet", "-B", branch, commit)
        return place

    def _actions(self) -> dict[str, str]:
        """Return where each action lies that workflows use: the project, or its stub."""
        files = [self.project / "action.yml", *(self.project / ".github/workflows").glob("*.yml")]
        uses = r"uses: ([\w-]+/([\w-]+)@[0-9a-f]{40})"
        found = {m for path in files for m in re.findall(uses, path.read_text())}
        stubs = {reference: str(STUBS / name) for reference, name in found}
        return stubs | {"scidas/dtp-requests@v1": str(self.project)}

    def _environment(self, folder: Path) -> dict[str, str]:
        """Return the runner's own environment, which host mode hands to every step."""
        uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
        ours = re.compile(f"{OURS.pattern}|VIRTUAL_ENV|PYTHONPATH")
        clean = {key: value for key, value in os.environ.items() if not ours.match(key)}
        return clean | {
            "PATH": f"{Path(uv).parent}:{self.root / 'bin'}:{os.environ['PATH']}",
            "UV_PYTHON": sys.executable,
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
            "TTY_COMPATIBLE": "0",  # `act` gives steps a terminal; runners do not
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "HUB_ORIGIN": f"file://{self.branches.root}",
            "HUB_PROJECT": str(self.project),
            "HUB_ARTIFACTS": str(folder / "artifacts"),
        }

    def _take_up(self, artifacts: Path, run: WorkflowRun) -> None:
        for path in sorted(artifacts.glob("*")):
            files = {one.name: one.read_bytes() for one in path.iterdir()}
            self.github.upload(path.name, files, run)


def _granted(workflow: Path) -> set[str]:
    """Return what the token of any of a workflow's jobs may do, of what the stand-in knows."""
    document = yaml.safe_load(workflow.read_text())
    jobs = document["jobs"].values()
    granted = [job.get("permissions", document.get("permissions", {})) for job in jobs]
    return {
        scope
        for scope, least in SCOPES.items()
        if any(permissions.get(scope) in (least, "write") for permissions in granted)
    }


def one_line(kubeconfig: str) -> str:
    """Return a kubeconfig as the secret has it."""
    return base64.b64encode(kubeconfig.encode()).decode()


def lay_project(place: Path) -> Path:
    """Copy what a release of this project would have, for runs to start from.

    They share an environment: else each run would compile all packages anew, most of its time.
    """
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("dtp_action", ".github", "docs/examples"):
        shutil.copytree(ROOT / name, place / name, ignore=ignore)
    for name in ("action.yml", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, place / name)
    action = (place / "action.yml").read_text()
    own = "${{ runner.temp }}/dtp/environment"
    assert own in action
    (place / "action.yml").write_text(action.replace(own, str(place.parent / "environment")))
    for path in (place / ".github/workflows").glob("*.yml"):
        path.write_text(_for_act(path.read_text()))
    return place


def _for_act(workflow: str) -> str:
    """Return a workflow without the words that `act` does not know."""
    known = workflow.replace(", deployment: false", "").replace("job.workflow_sha", "github.sha")
    return known.replace("${{ job.workflow_repository }}", "scidas/dtp-requests")
