"""`make live`: the whole story on github.com, in a throwaway repository, as a table of what held.

    GITHUB_TOKEN=… DTP_LIVE_REPOSITORY=owner/throwaway make live

The token is a person's (an app's comments are not answered) and may write contents, pull requests
and commit statuses of that repository, nothing else. Jobs run on the embedded cluster in a fresh
folder, or with DTP_KUBECONFIG and DTP_NAMESPACE in that namespace, which must be a fresh one.
The merged pull request stays, its branches are removed. For another host than github.com, set
GITHUB_SERVER_URL and GITHUB_API_URL.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtp_action.adapters.pulls import PUBLIC, GitHubPulls
from dtp_action.core import pulls
from dtp_action.core.pulls import Shown, State

DTP = str(Path(sys.executable).with_name("dtp"))
PAUSES = (0, 1, 2, 4, 8)  # what GitHub was just told, it may not yet tell others
SCRIPT = """\
#!/bin/bash
#DTP time=10m
echo "hello from $DTP_REF"
"""
OPEN = """mutation($input: CreatePullRequestInput!) {
  createPullRequest(input: $input) { pullRequest { id number } } }"""
MERGE = """mutation($input: MergePullRequestInput!) {
  mergePullRequest(input: $input) { pullRequest { mergeCommit { oid } } } }"""


@dataclass(kw_only=True)
class Live:
    """One walk through the story, on branches of its own."""

    us: GitHubPulls
    remote: str
    folder: Path
    environ: Mapping[str, str]
    branch: str = field(default_factory=lambda: f"dtp-live-{secrets.token_hex(4)}")
    number: int = 0
    node: str = ""
    head: str = ""
    merged: str = ""

    # --- the story ---

    def propose(self) -> None:
        self.git("init", "--quiet", f"--initial-branch={self.branch}")
        self.git("remote", "add", "origin", self.remote)
        self._commit("README.md", "A cluster branch of `make live`; it may be removed.\n")
        self.git("push", "--quiet", "origin", self.branch)
        self.git("checkout", "--quiet", "-b", self.work)
        self.head = self._commit("dtp-jobs/dtp-local/hello.sh", SCRIPT)
        self.git("push", "--quiet", "origin", self.work)
        opened = self._told(
            OPEN,
            repositoryId=self.us._read("look at the repository", ["id"])["id"],
            headRefName=self.work,
            baseRefName=self.branch,
            title="make live: say hello",
        )
        self.number, self.node = opened["number"], opened["id"]

    def preview(self) -> None:
        finished = {"event": "pull_request", "head_sha": self.head, "head_branch": self.work}
        self.dtp("workflow_run", "preview", workflow_run=finished)
        eventually(lambda: self._says("dtp-local/hello", "runs"))

    def merge(self) -> None:
        how = {"pullRequestId": self.node, "mergeMethod": "SQUASH"}
        self.merged = eventually(lambda: self._told(MERGE, **how)["mergeCommit"]["oid"])
        self.git("fetch", "--quiet", "origin")

    def dispatch(self) -> None:
        ended = self.dtp("push", "dispatch", "--wait=120", "--format=json")
        (job,) = ended["jobs"]
        assert job["phase"] == "SUCCEEDED", job
        assert job["pull_request"] == self.number, job

    def comment(self) -> None:
        eventually(lambda: self._says("dtp-local/hello", "1 done"))

    def mention(self) -> None:
        def told() -> None:
            *_, last = self.shown().comments[self.number]
            assert "@" in last.body, last.body

        eventually(told)

    def status(self) -> None:
        def told() -> None:
            assert self.shown().statuses[self.merged].state is State.SUCCESS

        eventually(told)

    def again(self) -> None:
        before = self.shown()
        self.dtp("push", "dispatch")
        assert self.shown() == before

    def answer(self) -> None:
        does, path = "comment", f"/issues/{self.number}/comments"
        asked = self.us._rest(does, "POST", path, {"body": "/dtp status"})
        marker = pulls.marker("answer", self.branch, str(asked["id"]))
        event = {
            "action": "created",
            "issue": {"pull_request": {}},
            "comment": {"node_id": asked["node_id"]},
        }

        def told() -> None:
            ours = self.shown().comments[self.number]
            assert len([c for c in ours if c.body.startswith(marker)]) == 1

        for _ in range(2):
            self.dtp("issue_comment", "answer", **event)
            eventually(told)

    def tidy(self) -> None:
        self.git("push", "--quiet", "origin", "--delete", self.branch, self.work)

    # --- how ---

    @property
    def work(self) -> str:
        """The pull request's branch."""
        return f"{self.branch}-work"

    def git(self, *arguments: str) -> str:
        """Run git; return what it prints. The token is no argument, and for GitHub's host alone."""
        ran = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"git {arguments[0]}: {ran.stderr}"
        return ran.stdout.strip()

    def dtp(self, event: str, *arguments: str, **payload: Any) -> dict[str, Any]:
        """Run a command as a step of a workflow does; return what it prints, if that is JSON."""
        path = self.folder.with_suffix(".event")
        path.write_text(json.dumps(payload))
        runner = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REPOSITORY": self.us.repository,
            "GITHUB_RUN_ID": "1",
            "DTP_BRANCH": self.branch,
        }
        ran = subprocess.run(
            [DTP, *arguments],
            cwd=self.folder,
            env={**self.environ, **runner},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"exit code {ran.returncode}: {ran.stderr[-400:]}"
        return json.loads(ran.stdout) if ran.stdout.startswith("{") else {}

    def shown(self) -> Shown:
        """Return what GitHub shows."""
        commits = [self.merged] if self.merged else []
        return self.us.shown([self.number], commits, f"dtp / {self.branch}")

    def _says(self, *texts: str) -> None:
        marker = pulls.marker("status", self.branch)
        ours = [c for c in self.shown().comments[self.number] if c.body.startswith(marker)]
        assert len(ours) == 1, ours
        assert all(text in ours[0].body for text in texts), ours[0].body

    def _commit(self, name: str, content: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=make live")
        return self.git("rev-parse", "HEAD")

    def _told(self, mutation: str, **given: str) -> dict[str, Any]:
        (answer,) = self.us._query("carry it out", mutation, {"input": given}).values()
        return dict(answer["pullRequest"])


STORY: tuple[tuple[str, Callable[[Live], None]], ...] = (
    ("a pull request is opened", Live.propose),
    ("it is told what merging will do", Live.preview),
    ("it is merged", Live.merge),
    ("dispatch runs its job to the end", Live.dispatch),
    ("its comment tells how the job ended", Live.comment),
    ("its author is mentioned", Live.mention),
    ("the merge commit has a status", Live.status),
    ("another dispatch changes nothing", Live.again),
    ("`/dtp status` is answered once", Live.answer),
)


def eventually(act: Callable[[], Any]) -> Any:
    """Return what is so, if not at once then soon."""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            return act()
        except Exception as error:  # whatever it was, it is told if it stays
            last = error
    raise last


def walk(live: Live) -> bool:
    """Go through the story and print each step; True where all held."""
    held = True
    for sentence, step in (*STORY, ("its branches are removed", Live.tidy)):
        if not held and step is not Live.tidy:
            print(f"  not run  {sentence}")
            continue
        try:
            step(live)
            print(f"  pass     {sentence}", flush=True)
        except Exception as error:  # a row of the table, and the exit code
            held = False
            print(f"  FAIL     {sentence}: {' '.join(str(error).split())}", flush=True)
    return held


def connect(environ: Mapping[str, str], folder: Path) -> Live:
    """Return what is needed, from the environment."""
    repository, token = environ["DTP_LIVE_REPOSITORY"], environ["GITHUB_TOKEN"]
    server = environ.get("GITHUB_SERVER_URL", "https://github.com")
    api_url = environ.get("GITHUB_API_URL", PUBLIC)
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    own = {
        "DTP_GITHUB_TOKEN": token,
        "DTP_GITHUB_API_URL": api_url,
        "GITHUB_SERVER_URL": server,
        "RUNNER_TEMP": str(folder),
        **{f"GIT_{who}_NAME": "make live" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "live@example.org" for who in ("AUTHOR", "COMMITTER")},
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }
    if not environ.get("DTP_KUBECONFIG"):
        own["DTP_CLUSTER"] = f"local:{folder / 'cluster'}"
    (folder / "requests").mkdir()
    return Live(
        us=GitHubPulls(repository=repository, token=token, api_url=api_url, patience=600),
        remote=environ.get("DTP_LIVE_REMOTE", f"{server}/{repository}.git"),
        folder=folder / "requests",
        environ={**environ, **own},
    )


def main() -> None:
    missing = [n for n in ("GITHUB_TOKEN", "DTP_LIVE_REPOSITORY") if not os.environ.get(n)]
    if missing:
        print(f"{__doc__}\nmissing: {', '.join(missing)}", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="dtp-live-") as folder:
        live = connect(os.environ, Path(folder))
        print(f"{live.us.repository}, branch {live.branch}:")
        held = walk(live)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
