"""What people outside reach on GitHub: the job with the secret, what runs in it, what it is told.

A table of docs/explanation/security.md is held to it. No cluster is needed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.act.hub import EXAMPLES, ROOT, Hub, one_line
from tests.contract.test_workflow import CATALOG, FORGED, A, Workflow, merge, proposal
from tests.e2e import page
from tests.e2e.page import Found
from tests.e2e.prey import NOTHING
from tests.github.branches import Branches
from tests.unit.test_action import ACTION, carried_out, traced

COLUMN = "what stopped it"
HIDDEN = {
    "a terminal's escape": "\x1b[8m",
    "a change of direction": "\u202e",
    "a character without width": "\u200b",
    "a tag character": "\U000e0041",
    "a variation selector": "\U000e0100",
    "a blank that is no space": "\u3164",
}

FOLDERS = {
    "called": EXAMPLES / "one-cluster",
    "steps": EXAMPLES / "several-clusters",
    "as it is": ROOT / ".github/workflows",
}
WORKS = "#!/bin/sh\necho moved\n"


@pytest.fixture(params=FOLDERS)
def asked(bare_hub: Hub, request: pytest.FixtureRequest) -> Hub:
    """Return a repository with a merged pull request of ada's, whose cluster nobody reaches."""
    folder: Path = FOLDERS[request.param]
    for name in ("KUBECONFIG", "KUBECONFIG_NORTH", "KUBECONFIG_SOUTH"):
        bare_hub.secrets[name] = one_line("kind: Config\n")
    bare_hub.lay_workflows(folder, {"branch: south": "branch: main"})
    bare_hub.github.permissions |= {"grace": "write", "ada": "read", "mallory": "read"}
    bare_hub.merge(bare_hub.pull(7, genome=WORKS))
    return bare_hub


def test_the_job_with_the_secret_begins_only_where_somebody_may_ask(asked: Hub) -> None:
    stranger = asked.comment(7, "/dtp retry dtp-local/genome", author="mallory")

    assert (stranger.code, stranger.jobs) == (0, {"admit"}), stranger.log
    assert "`write`" in asked.github.on(7)[-1], "and it is told"

    author = asked.comment(7, "/dtp status", author="ada")

    assert author.jobs == {"admit", "answer"}, author.log
    assert author.code != 0, "there is no such cluster"


def test_what_is_tried_from_outside_is_as_the_page_says(bare_hub: Hub, tmp_path: Path) -> None:
    found = read_otherwise(tmp_path / "check")
    found |= begun_by_a_comment(bare_hub)
    found |= built(tmp_path)
    found |= forged(Workflow(Branches(tmp_path / "forged", bare_hub.github), tmp_path / "steps"))
    page.hold("way in", COLUMN, found, (COLUMN,))


def read_otherwise(folder: Path) -> Found:
    """Propose scripts that are not what a reviewer reads."""
    found = {}
    for what, hidden in HIDDEN.items():
        place = folder / "dtp-jobs" / "dtp-local" / "a.sh"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\necho {hidden}\n")
        argv = [sys.executable, "-m", "dtp_action", "-C", str(folder), "check"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        refused = done.returncode == 1 and "a reviewer does not see" in done.stdout
        found[f"hide what a script does: {what}"] = "dtp" if refused else NOTHING
    return found


def begun_by_a_comment(hub: Hub) -> Found:
    """Have the job with the secret begin."""
    hub.secrets["KUBECONFIG"] = one_line("kind: Config\n")
    hub.lay_workflows(FOLDERS["called"], {})
    hub.github.permissions["mallory"] = "read"
    hub.merge(hub.pull(7, genome=WORKS))
    hub.pull(8, fork="mallory/requests", other=WORKS).author = "mallory"
    hub.branches.git("checkout", "--quiet", "main")
    runs = {
        "whoever can only read": hub.comment(7, "/dtp status", author="mallory"),
        "the author, before the merge": hub.comment(8, "/dtp status", author="mallory"),
    }
    return {
        f"begin a job that has the secret, by a comment: {who}": (
            "admit" if run.jobs == {"admit"} else NOTHING
        )
        for who, run in runs.items()
    }


def built(folder: Path) -> Found:
    """Run code beside the secret, by taking over what builds the program."""
    program, trace = traced(folder)
    (folder / "requests" / "dtp-jobs").mkdir(parents=True)
    steps = [
        carried_out(step, program, folder / "requests") for step in ACTION["runs"]["steps"][1:]
    ]
    stopped = not trace.exists() and all(ran.returncode == 0 for ran in steps)
    return {
        "run code beside the secret, by what builds the program": "the lock" if stopped else NOTHING
    }


def forged(workflow: Workflow) -> Found:
    """Have a preview tell what was never dispatched."""
    github = workflow.branches.github
    workflow.branches.commit({"dtp-jobs/catalog.yaml": CATALOG})
    merge(workflow, "#!/bin/sh\nexit 7\n", number=17)
    done = workflow.step("dispatch", wait="60")
    document = Path(done.outputs["status-file"]).read_bytes()
    merged = workflow.branches.head("main")
    workflow.branches.pull(18, {A: "#!/bin/sh\nexit 0\n"})
    event = proposal(workflow)
    found = {}
    for what, facts in FORGED.items():
        run = github.ran(**{"commit": merged} | facts)
        github.upload(done.outputs["status-artifact"], {"status.json": document}, run)
        step = workflow.step("preview", "pull_request", event, branch="main")
        unknown = step.code == 0 and "depends" in step.summary
        found[f"have a preview believe a status.json: of {what}"] = "dtp" if unknown else NOTHING
    return found
