"""The commands as steps of a workflow: the runner's files, and the stand-in GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core import markdown
from tests.github import fake
from tests.github.branches import Branches

DTP = Path(sys.executable).with_name("dtp")
OURS = re.compile(r"DTP_|GITHUB_|RUNNER_|KUBECONFIG$")
CATALOG = "version: 1\nprotocols: {local: {image: registry.example.org/tools/local:1}}\n"
HOSTILE = "#!/bin/sh\necho '::error::owned'; echo 'x ##[set-output name=result]owned'; exit 3\n"
A = "dtp-jobs/dtp-local/a.sh"


@dataclass
class Step:
    """What a step left behind."""

    code: int
    out: str
    summary: str
    outputs: dict[str, str]

    def commands(self) -> list[str]:
        """Return the workflow commands that a runner would obey, as it reads them."""
        found: list[str] = []
        stopped = ""
        for line in self.out.splitlines():
            if stopped:
                stopped = "" if line == f"::{stopped}::" else stopped
            elif line.startswith("::stop-commands::"):
                stopped = line.removeprefix("::stop-commands::")
            elif line.startswith("::") or "##[" in line:
                found.append(line)
        assert not stopped, "commands stay stopped for the steps after it"
        return found


@dataclass
class Workflow:
    """A requests repository, an embedded cluster, and a runner's environment."""

    branches: Branches
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    steps: int = 0

    def step(self, command: str, event: str = "push", payload: Any = None, **more: str) -> Step:
        """Run one command as the Action does."""
        self.steps += 1
        place = self.folder / f"step-{self.steps}"
        (place / "temp").mkdir(parents=True)
        (place / "event.json").write_text(json.dumps(payload or {}))
        clean = {key: value for key, value in os.environ.items() if not OURS.match(key)}
        own = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(place / "event.json"),
            "GITHUB_STEP_SUMMARY": str(place / "summary"),
            "GITHUB_OUTPUT": str(place / "output"),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": fake.REPOSITORY,
            "GITHUB_REPOSITORY_ID": "42",
            "GITHUB_REF_TYPE": "branch",
            "GITHUB_REF_NAME": "main",
            "GITHUB_RUN_ID": "1",
            "GITHUB_ACTOR": "grace",
            "RUNNER_TEMP": str(place / "temp"),
            "DTP_CLUSTER": f"local:{self.folder / 'cluster'}",
            "DTP_GITHUB_TOKEN": fake.TOKEN,
            "DTP_GITHUB_API_URL": self.branches.github.url,
        }
        told = {f"DTP_{key.upper()}": value for key, value in more.items()}
        done = subprocess.run(
            [DTP, "-C", str(self.branches.root), command],
            env=clean | own | self.environment | told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        return Step(
            code=done.returncode,
            out=done.stdout.decode(),
            summary=_read(place / "summary"),
            outputs=_outputs(_read(place / "output")),
        )


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _outputs(text: str) -> dict[str, str]:
    """Read the file of outputs as the runner does."""
    blocks = re.finditer(r"(?ms)^([\w-]+)<<(\w+)\n(.*?)\n?^\2$", text)
    return {block[1]: block[3] for block in blocks}


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with fake.serve() as github:
        branches = Branches(tmp_path / "requests", github)
        branches.commit({"dtp-jobs/catalog.yaml": CATALOG})
        yield Workflow(branches, tmp_path)


def merge(workflow: Workflow, script: str, number: int = 7) -> str:
    return workflow.branches.merge(workflow.branches.pull(number, {A: script}))


def proposal(workflow: Workflow) -> dict[str, Any]:
    """Return the event of the pull request that is checked out."""
    workflow.branches.git("update-ref", "refs/remotes/origin/main", "main")
    head = {"sha": workflow.branches.head(), "ref": "patch"}
    return {"pull_request": {"base": {"ref": "main"}, "head": head, "user": {"login": "ada"}}}


def spoil(workflow: Workflow, pattern: str, **changes: Any) -> str:
    """Change an object of the embedded cluster by hand; return its name."""
    (found,) = (workflow.folder / "cluster" / "configmaps").glob(pattern)
    there = json.loads(found.read_text())
    there["metadata"]["annotations"] |= changes
    found.write_text(json.dumps(there))
    return found.stem


def test_what_cannot_be_read_is_told_in_all_places_and_the_others_go_on(
    workflow: Workflow,
) -> None:
    other = A.replace("a.sh", "b.sh")
    pull = workflow.branches.pull(7, {A: "#!/bin/sh\necho a\n"})
    workflow.branches.merge(pull)
    workflow.step("dispatch", wait="60")
    name = spoil(workflow, "dtp-local-a-*-1.json", **{"dtp.scidas.org/origin": "{"})
    workflow.branches.merge(workflow.branches.pull(8, {other: "#!/bin/sh\necho b\n"}))

    step = workflow.step("dispatch", wait="60")

    assert step.code == 1
    (job,) = json.loads(step.outputs["jobs"])
    assert (job["ref"], job["phase"]) == ("dtp-local/b", "SUCCEEDED")
    assert name in step.summary.replace(markdown.GAP, "")
    (warned,) = [line for line in step.commands() if line.startswith("::warning")]
    assert f"ConfigMap {name} cannot be read" in warned
    (row,) = json.loads(Path(step.outputs["status-file"]).read_text())["unreadable"]
    assert row["name"] == name
    assert "held" in "".join(workflow.branches.github.on(7)), "its author hears of it"
    status = workflow.step("status")
    assert status.code == 0
    assert f"ConfigMap {name} cannot be read" in status.out
    asked = workflow.step("retry", job="dtp-local/a")
    assert asked.code == 3
    assert name in asked.out
    assert not list((workflow.folder / "cluster" / "configmaps").glob("dtp-local-a-*-2.json"))
    assert name in workflow.step("logs", job="dtp-local/a", log_in_comment="yes").out
    assert name in workflow.step("doctor").out


def test_a_card_that_cannot_be_read_stops_the_run(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\necho moved\n")
    workflow.step("dispatch", wait="60")
    spoil(workflow, "dtp-ledger.json", **{"dtp.scidas.org/created": "yesterday"})
    step = workflow.step("dispatch")
    assert step.code == 2
    assert "the ledger's card, ConfigMap dtp-ledger cannot be read" in step.out


def test_a_run_leaves_summary_outputs_status_and_comment(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\necho moved\n")
    step = workflow.step("dispatch", wait="60")
    assert step.code == 0, step.out
    assert "dtp-local/a" in step.summary
    wanted = {"result": "done", "opened": "1", "ended": "1", "open": "0", "failed": "0"}
    assert step.outputs.items() >= wanted.items()
    (job,) = json.loads(step.outputs["jobs"])
    assert (job["phase"], job["pull_request"], job["merged_by"]) == ("SUCCEEDED", 7, "grace")
    assert json.loads(Path(step.outputs["status-file"]).read_text())["jobs"][0]["ref"] == job["ref"]
    assert step.outputs["status-artifact"] == "dtp-status-main"
    (url, *_) = step.outputs["comment-urls"].splitlines()
    assert url.endswith(f"#issuecomment-{workflow.branches.github.comments[0].id}")


def test_what_a_script_printed_is_no_workflow_command(workflow: Workflow) -> None:
    merge(workflow, HOSTILE)
    step = workflow.step("dispatch", wait="60")
    assert step.code == 1
    assert step.outputs["result"] == "bad-outcome"
    logs = workflow.step("logs", job="dtp-local/a", log_in_comment="yes")
    assert "owned" in logs.out
    assert not [line for line in step.commands() + logs.commands() if "owned" in line]


def test_a_log_is_not_printed_where_anybody_may_read_it(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\necho the secret of life | tee secret-of-life\n")
    workflow.step("dispatch", wait="60")
    public = {"repository": {"private": False}}
    private = {"repository": {"private": True}}
    for command, words in {"logs": "secret of life", "files": "secret-of-life"}.items():
        for payload in (public, {}):
            step = workflow.step(command, "workflow_dispatch", payload, job="dtp-local/a")
            assert step.code == 2
            assert "log-in-comment: yes" in step.out
            assert words not in step.out
        step = workflow.step(command, "workflow_dispatch", private, job="dtp-local/a")
        assert words in step.out


def test_a_log_that_is_printed_is_redacted(workflow: Workflow) -> None:
    token = "ghp_" + "a1B2" * 9
    merge(workflow, f"#!/bin/sh\necho {token[:10]}''{token[10:]}\n")
    workflow.step("dispatch", wait="60")
    step = workflow.step("logs", job="dtp-local/a", log_in_comment="yes")
    assert "[redacted]" in step.out
    assert token not in step.out


def test_a_push_does_not_wait_for_last_weeks_transfer(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\nsleep 60\n")
    workflow.step("dispatch")
    step = workflow.step("dispatch", wait="110")
    assert step.outputs["open"] == "1"
    workflow.step("cancel", job="dtp-local/a")


def test_a_kubeconfig_on_a_pull_requests_event_is_refused_whatever_the_command(
    workflow: Workflow,
) -> None:
    workflow.branches.pull(8, {A: "#!/bin/sh\necho\n"})
    event = proposal(workflow)
    step = workflow.step("preview", "pull_request", event, kubeconfig="apiVersion: v1\n")
    assert step.code == 2
    assert "must not be used on the event pull_request" in step.out


def test_a_rejected_script_is_annotated_on_its_line(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\n#DTP memry=1Gi\necho\n")
    step = workflow.step("dispatch")
    (error,) = step.commands()
    assert error.startswith(f"::error file={A},line=2::")
    assert step.outputs["rejected"] == "1"


def test_a_missing_permission_is_a_warning_with_its_remedy(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\necho\n")
    workflow.branches.github.denied.add("pull-requests")
    step = workflow.step("dispatch", wait="60")
    assert step.code == 0
    assert step.outputs["ended"] == "1"
    assert any("pull-requests: write" in line for line in step.commands())


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "workflow_run"])
@pytest.mark.parametrize("command", ["dispatch", "plan", "status"])
def test_no_cluster_on_what_nobody_has_merged(workflow: Workflow, command: str, event: str) -> None:
    step = workflow.step(command, event)
    assert step.code == 2
    assert step.outputs["result"] == "usage"
    assert "must not be used on the event" in step.out
    assert not (workflow.folder / "cluster").exists()


def test_the_preview_is_exact_with_the_last_dispatchs_status(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    done = workflow.step("dispatch", wait="60")
    workflow.branches.pull(8, {A: "#!/bin/sh\nexit 0\n"})
    event = proposal(workflow)
    step = workflow.step("preview", "pull_request", event, status=done.outputs["status-file"])
    assert step.code == 0, step.out
    assert "attempt 2" in step.summary
    assert "depends" not in step.summary
    assert workflow.branches.github.on(8) == []


BELIEVED: dict[str, dict[str, Any]] = {
    "a push to the cluster's branch": {},
    "a schedule": {"event": "schedule"},
    "by hand": {"event": "workflow_dispatch"},
}
FORGED: dict[str, dict[str, Any]] = {
    "another branch": {"branch": "patch"},
    "another workflow": {"workflow": "ci.yml"},
    "a pull request's own workflow": {"event": "pull_request", "branch": "patch"},
    "a fork's pull request": {"event": "pull_request", "fork": "mallory/requests"},
    "the end of another run": {"event": "workflow_run"},
    "a tag called like the branch": {"commit": "a" * 40},
}


@pytest.mark.parametrize("facts", [*BELIEVED.values(), *FORGED.values()], ids=[*BELIEVED, *FORGED])
def test_how_jobs_stand_is_believed_of_a_dispatch_of_the_branch_alone(
    workflow: Workflow, facts: dict[str, Any]
) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    done = workflow.step("dispatch", wait="60")
    merged = workflow.branches.head("main")
    github = workflow.branches.github
    document = Path(done.outputs["status-file"]).read_bytes()
    run = github.ran(**{"commit": merged} | facts)
    github.upload(done.outputs["status-artifact"], {"status.json": document}, run)
    workflow.branches.pull(8, {A: "#!/bin/sh\nexit 0\n"})

    step = workflow.step("preview", "pull_request", proposal(workflow), branch="main")

    assert step.code == 0, step.out
    if facts in BELIEVED.values():
        assert "attempt 2" in step.summary
        assert step.commands() == []
    else:
        assert "depends" in step.summary
        seen = run.workflow == "dispatch.yml"
        assert any(line.startswith("::warning") for line in step.commands()) == seen


@pytest.mark.parametrize(
    ("file", "first", "then"),
    [
        ("dispatch.yml", "nothing starts", "run it once to catch up"),
        ("schedule.yml", "1 job runs", "Results are recorded at the next merge only"),
    ],
)
@pytest.mark.parametrize("state", ["disabled_inactivity", "disabled_manually", "disabled_fork"])
def test_a_workflow_that_is_disabled_is_told_before_the_merge(
    workflow: Workflow, file: str, first: str, then: str, state: str
) -> None:
    github = workflow.branches.github
    github.workflows |= {file}
    github.disabled[file] = state
    pull = workflow.branches.pull(8, {A: "#!/bin/sh\necho\n"})
    workflow.branches.git("update-ref", "refs/remotes/origin/main", "main")
    run = {"event": "pull_request", "head_sha": pull.head, "head_branch": "pull-8"}
    step = workflow.step("preview", "workflow_run", {"workflow_run": run})
    assert step.code == 0, step.out
    (comment,) = github.on(8)
    assert first in comment.splitlines()[2]
    assert then in comment
    assert f"gh workflow enable {file}" in comment
    assert ("60 days" in comment) == (state == "disabled_inactivity")


def test_where_the_state_of_a_workflow_cannot_be_read_nothing_is_said_of_it(
    workflow: Workflow,
) -> None:
    github = workflow.branches.github
    github.disabled["dispatch.yml"] = "disabled_inactivity"
    github.denied.add("actions")
    workflow.branches.pull(8, {A: "#!/bin/sh\necho\n"})
    step = workflow.step("preview", "pull_request", proposal(workflow))
    assert "disabled" not in step.summary
    assert any("actions: read" in line or "would not look" in line for line in step.commands())


def test_what_a_scheduled_run_left_is_newer_than_an_older_dispatch(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    first = workflow.step("dispatch")
    later = workflow.step("dispatch", wait="60")
    github, merged = workflow.branches.github, workflow.branches.head("main")
    for name, step in (("dispatch.yml", first), ("schedule.yml", later)):
        run = github.ran(workflow=name, commit=merged)
        document = Path(step.outputs["status-file"]).read_bytes()
        github.upload(step.outputs["status-artifact"], {"status.json": document}, run)
    workflow.branches.pull(8, {A: "#!/bin/sh\nexit 0\n"})
    step = workflow.step("preview", "pull_request", proposal(workflow), branch="main")
    assert "this runs as attempt 2" in step.summary.replace("**", "")


def test_a_pull_request_into_a_branch_that_the_cluster_does_not_follow_starts_nothing(
    workflow: Workflow,
) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    done = workflow.step("dispatch", wait="60")
    workflow.branches.pull(8, {A: "#!/bin/sh\nexit 0\n"})
    event = proposal(workflow)
    event["pull_request"]["base"]["ref"] = "dev"
    workflow.branches.git("update-ref", "refs/remotes/origin/dev", "main")
    step = workflow.step("preview", "pull_request", event, status=done.outputs["status-file"])
    assert "merging into `dev` starts nothing" in step.summary.splitlines()[0]


def test_the_preview_of_a_rejected_script_fails_on_its_line(workflow: Workflow) -> None:
    workflow.branches.pull(8, {A: "#!/bin/sh\n#DTP memry=1Gi\n"})
    event = proposal(workflow)
    step = workflow.step("preview", "pull_request", event)
    assert step.code == 1
    assert any(line.startswith(f"::error file={A},line=2::") for line in step.commands())


def test_a_finished_preview_is_written_on_the_open_pull_request(workflow: Workflow) -> None:
    pull = workflow.branches.pull(8, {A: "#!/bin/sh\necho\n"})
    workflow.branches.git("update-ref", "refs/remotes/origin/main", "main")
    run = {"event": "pull_request", "head_sha": pull.head, "head_branch": "pull-8"}
    step = workflow.step("preview", "workflow_run", {"workflow_run": run})
    assert step.code == 0, step.out
    (comment,) = workflow.branches.github.on(8)
    assert "dtp-local/a" in comment
    again = workflow.step("preview", "workflow_run", {"workflow_run": run})
    assert again.code == 0
    assert workflow.branches.github.on(8) == [comment]


def test_a_preview_that_cannot_be_made_takes_the_place_of_the_earlier_one(
    workflow: Workflow,
) -> None:
    pull = workflow.branches.pull(8, {A: "#!/bin/sh\necho\n"})
    workflow.branches.git("update-ref", "refs/remotes/origin/main", "main")
    run = {"event": "pull_request", "head_sha": pull.head, "head_branch": "pull-8"}
    workflow.step("preview", "workflow_run", {"workflow_run": run})
    (comment,) = workflow.branches.github.on(8)
    assert f"commit `{pull.head[:7]}`" in comment.splitlines()[2]
    # A later head that could not be fetched.
    pull.head = run["head_sha"] = "e" * 40
    step = workflow.step("preview", "workflow_run", {"workflow_run": run})
    assert step.code == 2
    (comment,) = workflow.branches.github.on(8)
    assert comment.splitlines()[2] == "### ⚠️ There is no preview · commit `eeeeeee`"
    assert "names no commit" in comment


def test_a_comment_is_answered(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    workflow.step("dispatch", wait="60")
    github = workflow.branches.github
    github.permissions["ada"] = "read"
    comment = github.comment(7, "/dtp status", "ada")
    event = {
        "action": "created",
        "issue": {"number": 7, "pull_request": {}},
        "comment": {"node_id": comment.node},
    }
    first = workflow.step("admit", "issue_comment", event, cluster="no such kind")
    assert (first.code, first.outputs["admitted"]) == (0, "true"), first.out
    step = workflow.step("answer", "issue_comment", event)
    assert step.code == 0, step.out
    assert "exit 7" in github.on(7)[-1]
    before = len(github.comments)
    workflow.step("answer", "issue_comment", event)
    assert len(github.comments) == before
    assert workflow.step("admit", "issue_comment", event).outputs["admitted"] == "false"


def test_a_comment_of_who_may_not_ask_is_answered_where_no_cluster_is(workflow: Workflow) -> None:
    merge(workflow, "#!/bin/sh\nexit 7\n")
    github = workflow.branches.github
    github.permissions["mallory"] = "read"
    comment = github.comment(7, "/dtp status", "mallory")
    event = {
        "action": "created",
        "issue": {"number": 7, "pull_request": {}},
        "comment": {"node_id": comment.node},
    }
    step = workflow.step("admit", "issue_comment", event, cluster="no such kind")
    assert (step.code, step.outputs["admitted"]) == (0, "false"), step.out
    assert "`write`" in github.on(7)[-1]
