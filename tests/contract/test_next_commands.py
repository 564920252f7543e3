"""Every message that names a next command, and the command does what the message says.

Each test brings about the situation, on a real git and the embedded cluster or on a cluster in
memory and the stand-in for GitHub, takes the command out of what was said, and runs it as it is.
The last test finds the messages in the source: none is missing here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dtp_action.core.commands import Verb
from tests.admin import wait_for
from tests.contract.test_tell import SCRIPT, Site, job, path
from tests.desk import HELLO, Desk, Said
from tests.github import fake
from tests.github.branches import Branches
from tests.hints import TRIED, messages, tries

JOB = "dtp-local/copy"
SLOW = "#!/bin/sh\nexec sleep 300\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.cluster.stop_all()


def committed(desk: Desk, script: str = HELLO, ref: str = JOB) -> str:
    desk.write(ref, script)
    return desk.commit()


def done(desk: Desk, *arguments: str) -> Said:
    """Dispatch and wait; return what was said."""
    said = desk.dtp("dispatch", "--wait", "60", *arguments)
    assert said.returncode == 0, said.stderr
    return said


def attempts(desk: Desk) -> dict[str, list[str]]:
    """Return the phases of each job's attempts."""
    rows = json.loads(desk.dtp("status", "--all", "--format", "json").stdout)["jobs"]
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["ref"], []).append(row["phase"])
    return found


def named(said: Said, pattern: str) -> str:
    """Return the command that was said, as it stands there."""
    text = " ".join(f"{said.stdout} {said.stderr}".split())
    found = re.search(pattern, text)
    assert found, text
    return found[0]


def follow(desk: Desk, command: str) -> Said:
    """Run a command as it was said."""
    program, *arguments = shlex.split(command)
    if program == "dtp":
        return desk.dtp(*arguments)
    desk.git(*arguments)
    return Said([], 0, "", "")


def running(desk: Desk) -> None:
    wait_for(lambda: desk.phases()[JOB] == "RUNNING", "the script to start", 60)


# --- of dispatch, plan and status ----------------------------------------------------------------


@tries(
    "core/planner.py",
    "to run it: dtp retry {ref}, or the line #DTP attempt={next} in the script",
)
@pytest.mark.parametrize("way", [r"dtp retry [\w/-]+", "#DTP attempt=2"])
def test_a_changed_job_is_run_in_both_ways_that_are_named(desk: Desk, way: str) -> None:
    committed(desk)
    done(desk)
    committed(desk, HELLO + "echo more\n")
    how = named(done(desk), way)
    assert attempts(desk) == {JOB: ["SUCCEEDED"]}
    if how.startswith("#"):
        committed(desk, HELLO.replace("\n", f"\n{how}\n", 1) + "echo more\n")
    else:
        assert follow(desk, how).returncode == 0
    done(desk)
    assert attempts(desk) == {JOB: ["SUCCEEDED", "SUCCEEDED"]}


@tries(
    "core/planner.py",
    "{}, with max-new {}: run them with dtp dispatch --first-run, or record them as done with dtp"
    " dispatch --adopt",
)
@pytest.mark.parametrize(("option", "ran"), [("first-run", True), ("adopt", False)])
def test_many_new_jobs_are_run_or_recorded(desk: Desk, option: str, ran: bool) -> None:
    for number in range(26):
        desk.write(f"dtp-local/new-{number}")
    desk.commit()
    held = desk.dtp("dispatch")
    assert attempts(desk) == {}
    follow(desk, named(held, f"dtp dispatch --{option}"))
    done(desk)
    assert list(attempts(desk).values()) == [["SUCCEEDED"]] * 26
    assert (desk.cluster.root / "workspace/dtp-jobs/dtp-local/new-7/hello").exists() == ran


@tries("core/planner.py", "removed from the branch, yet goes on; to end it: dtp cancel {}")
def test_a_job_that_was_removed_and_goes_on_is_ended(desk: Desk) -> None:
    committed(desk, SLOW)
    desk.dtp("dispatch")
    running(desk)
    (desk.checkout / f"dtp-jobs/{JOB}.sh").unlink()
    desk.commit()
    assert follow(desk, named(desk.dtp("dispatch"), r"dtp cancel \S+")).returncode == 0
    desk.dtp("dispatch", "--wait", "60")
    assert attempts(desk) == {JOB: ["CANCELLED"]}


@tries("core/planner.py", "; to end it: dtp cancel {}")
def test_a_service_that_was_changed_is_ended(desk: Desk) -> None:
    service = SLOW.replace("\n", "\n#DTP kind=service\n", 1)
    catalog = desk.checkout / "dtp-jobs/catalog.yaml"
    catalog.parent.mkdir()
    catalog.write_text("version: 1\nprotocols: {local: {serviceImage: localhost/any:1}}\n")
    committed(desk, service)
    desk.dtp("dispatch")
    running(desk)
    committed(desk, service + "#\n")
    assert follow(desk, named(desk.dtp("dispatch"), r"dtp cancel \S+")).returncode == 0
    desk.dtp("dispatch", "--wait", "60")
    assert attempts(desk)[JOB][0] == "SUCCEEDED"


@tries("core/planner.py", "dtp dispatch starts it")
@tries("core/telling.py", "it has not started yet: dtp dispatch starts it")
@tries(
    "cli/work.py", "dtp status lists all jobs; a new script is there once its commit is dispatched"
)
def test_a_job_that_was_left_out_is_started(desk: Desk) -> None:
    unknown = desk.dtp("status", JOB)
    assert unknown.returncode == 2
    desk.write(JOB)
    committed(desk, ref="dtp-local/other")
    done(desk, "--job", "dtp-local/other")
    listed = follow(desk, named(unknown, "dtp status"))
    retried = desk.dtp("retry", JOB)
    for said in (listed, retried):
        assert named(said, "dtp dispatch starts it")
    assert follow(desk, "dtp dispatch").returncode == 0
    done(desk)
    assert attempts(desk)[JOB] == ["SUCCEEDED"]


@tries(
    "tell.py",
    "the cluster follows commit {}, not {}: this run started and stopped nothing for the branch, it"
    " only recorded results. If the branch was force-pushed, run: dtp dispatch --rewritten",
)
def test_a_branch_that_was_force_pushed_is_followed(desk: Desk) -> None:
    committed(desk)
    committed(desk, ref="dtp-local/old")
    done(desk)
    desk.git("reset", "--quiet", "--hard", "HEAD~1")
    committed(desk, ref="dtp-local/new")
    passed = done(desk)
    assert "dtp-local/new" not in attempts(desk)
    assert follow(desk, named(passed, "dtp dispatch --rewritten")).returncode == 0
    done(desk)
    assert attempts(desk)["dtp-local/new"] == ["SUCCEEDED"]


@tries("cli/admins.py", "Only show what would be done: dtp plan.")
def test_a_dry_run_is_a_plan(desk: Desk) -> None:
    committed(desk)
    shown = desk.dtp("dispatch", "--dry-run")
    assert (shown.returncode, shown.stdout) == (0, follow(desk, "dtp plan").stdout)
    assert "open" in shown.stdout
    assert attempts(desk) == {}


@tries("adapters/checkout.py", "Only committed scripts count: git add dtp-jobs && git commit")
def test_a_script_that_was_not_committed_is_run_once_it_is(desk: Desk) -> None:
    desk.write(JOB)
    said = desk.dtp("dispatch")
    add, commit = named(said, "git add dtp-jobs && git commit").split(" && ")
    follow(desk, add)
    follow(desk, f"{commit} -qm copy")
    done(desk)
    assert attempts(desk) == {JOB: ["SUCCEEDED"]}


@tries(
    "adapters/checkout.py",
    "The folder belongs to another user. If you trust it: git config --global --add safe.directory"
    " '{directory}'",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_trusted(desk: Desk) -> None:
    committed(desk)
    for one in (desk.checkout, *desk.checkout.rglob("*")):
        os.chown(one, 12345, 12345)
    said = desk.dtp("plan")
    assert said.returncode == 2
    command = named(said, r"git config --global --add safe.directory '\S+'")
    follow(desk, command)
    assert desk.dtp("plan").returncode == 0


# --- of retry and cancel -------------------------------------------------------------------------


@tries("core/planner.py", "wait for its end, or dtp cancel {}")
@tries("core/planner.py", "to run its script on the branch again: dtp retry {}")
def test_what_runs_is_cancelled_and_run_again(desk: Desk) -> None:
    committed(desk, SLOW)
    desk.dtp("dispatch")
    running(desk)
    early = desk.dtp("retry", JOB)
    assert early.returncode == 3
    assert follow(desk, named(early, r"dtp cancel \S+")).returncode == 0
    desk.dtp("dispatch", "--wait", "60")
    assert attempts(desk) == {JOB: ["CANCELLED"]}
    again = desk.dtp("cancel", JOB)
    assert again.returncode == 3
    assert follow(desk, named(again, r"dtp retry \S+")).returncode == 0
    assert len(attempts(desk)[JOB]) == 2


@tries("core/planner.py", "dtp dispatch settles it")
def test_what_has_ended_is_settled(desk: Desk) -> None:
    committed(desk)
    desk.dtp("dispatch")
    wait_for(lambda: all(one.end for one in desk.cluster.connect().jobs()), "its end", 60)
    over = desk.dtp("cancel", JOB)
    assert over.returncode == 3
    assert follow(desk, named(over, r"dtp dispatch (?=settles it)")).returncode == 0
    assert attempts(desk) == {JOB: ["SUCCEEDED"]}


@tries("core/planner.py", "see dtp status --all")
def test_of_a_job_that_there_is_not_all_others_are_shown(desk: Desk) -> None:
    committed(desk)
    done(desk)
    said = desk.dtp("retry", "dtp-local/unknown")
    assert said.returncode == 2
    assert JOB in follow(desk, named(said, "dtp status --all")).stdout


@tries("core/planner.py", "Run git pull on the branch, leave out --commit, and try again.")
def test_an_older_commit_is_brought_up_to_date(desk: Desk) -> None:
    committed(desk)
    desk.git("clone", "--quiet", ".", "../clone")
    committed(desk, ref="dtp-local/new")
    done(desk)
    clone = Desk(desk.root, "clone")
    clone.git("pull", "--quiet")
    clone.git("reset", "--quiet", "--hard", "HEAD~1")
    said = clone.dtp("retry", JOB)
    assert said.returncode == 3
    follow(clone, named(said, "git pull"))
    assert clone.dtp("retry", JOB).returncode == 0


@tries(
    "core/planner.py",
    "run this in an up-to-date checkout of that branch (git pull), or name your own namespace"
    " (--namespace, or --cluster local:DIR); if this is that branch, add: --source {}",
)
def test_a_checkout_of_another_branch_shows_or_says_whose_it_is(desk: Desk) -> None:
    committed(desk)
    desk.git("clone", "--quiet", ".", "../clone")
    committed(desk, ref="dtp-local/new")
    done(desk, "--source", "the lab's#main")
    clone, anew = Desk(desk.root, "clone"), Desk(desk.root, "anew")
    follow(clone, named(clone.dtp("dispatch"), "git pull"))
    assert clone.dtp("dispatch").returncode == 0
    committed(anew)
    source = named(anew.dtp("dispatch"), r"--source .+")
    assert follow(anew, f"dtp dispatch {source}").returncode == 0


@tries(
    "core/planner.py",
    "one namespace serves one branch: correct the input `namespace`; where the repository or branch"
    " was renamed: dtp dispatch --rename-source --source {}",
)
def test_a_renamed_repository_keeps_its_ledger(desk: Desk) -> None:
    committed(desk)
    done(desk, "--source", "lab/old#main")
    said = desk.dtp("dispatch", "--source", "lab/new#main")
    assert said.returncode == 2
    assert follow(desk, named(said, r"dtp dispatch --rename-source --source .+")).returncode == 0
    assert desk.status()["source"] == "lab/new#main"
    assert attempts(desk) == {JOB: ["SUCCEEDED"]}


@tries(
    "core/planner.py",
    "restore the namespace it came from, or delete its ConfigMaps and record what has run already"
    " with dtp dispatch --adopt",
)
def test_a_copied_ledger_is_begun_anew_and_runs_nothing_again(desk: Desk) -> None:
    committed(desk)
    done(desk)
    root = desk.cluster.root
    (root / "namespaces/local.json").unlink()
    for one in (root / "jobs").glob("*.json"):
        one.unlink()
    said = desk.dtp("dispatch")
    assert "copied from another namespace" in said.stderr
    for one in (root / "configmaps").glob("*.json"):
        one.unlink()
    assert follow(desk, named(said, "dtp dispatch --adopt")).returncode == 0
    (row,) = desk.status()["jobs"]
    assert (row["attempt"], row["reason"]) == (1, "adopted, not run here")


# --- of what needs no cluster --------------------------------------------------------------------


@tries("core/scripts.py", "holds the same as {}; to run that job again: dtp retry {}")
def test_a_copy_is_not_needed_to_run_a_job_again(desk: Desk) -> None:
    committed(desk)
    done(desk)
    desk.write("dtp-local/zcopy")
    said = desk.dtp("check")
    assert follow(desk, named(said, r"dtp retry \S+")).returncode == 0
    assert len(attempts(desk)[JOB]) == 2


@tries("cli/researchers.py", "to run the script with this machine's own tools: dtp run --host {}")
def test_a_script_is_run_with_this_machines_tools(desk: Desk) -> None:
    desk.write(JOB)
    said = desk.dtp("run", f"dtp-jobs/{JOB}.sh")
    assert said.returncode == 2
    assert follow(desk, named(said, r"dtp run --host \S+")).returncode == 0


@tries(
    "cli/admins.py",
    "it is for workflows on issue_comment; by hand: dtp status, logs, retry, cancel",
)
def test_by_hand_there_are_the_same_commands(desk: Desk) -> None:
    committed(desk, "#!/bin/sh\necho said; exec sleep 300\n")
    desk.dtp("dispatch")
    running(desk)
    listed = named(desk.dtp("answer"), r"dtp status, logs, retry, cancel").removeprefix("dtp ")
    codes = [desk.dtp(verb, JOB).returncode for verb in listed.split(", ")]
    assert codes == [0, 0, 3, 0]  # retry: it runs


# --- in comments ---------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Site]:
    with fake.serve() as github:
        github.visibility = "private"
        yield Site(Branches(tmp_path / "requests", github))


def lines(text: str) -> list[str]:
    """Return the commands that a comment has, ready to paste or within a sentence."""
    return re.findall(r"/dtp [a-z]+(?: dtp-[\w/-]+\w)?", text)


ARRIVED = 'dtp-arrived: {"files":[["genome.fa",5]],"more":0}'


def fail(hub: Site) -> None:
    hub.world.run(job("a"))
    hub.world.finish(job("a"), 3)


def lose(hub: Site) -> None:
    hub.world.run(job("a"))
    hub.world.lose_job(job("a"))


def stop(hub: Site) -> None:
    hub.world.run(job("a"))
    hub.answer("/dtp cancel dtp-local/a", by="grace")
    hub.world.pass_time(30)


@tries("core/comment.py", "/dtp retry {ref}")
@pytest.mark.parametrize("end", [fail, lose, stop])
def test_the_line_below_a_bad_end_runs_the_job_again(
    hub: Site,
    end: Callable[[Site], None],
) -> None:
    hub.github.permissions |= {"ada": "read", "grace": "write"}
    hub.merge(7, "a")
    hub.run()
    end(hub)
    hub.run()
    (line,) = dict.fromkeys(lines(hub.status(7)))
    assert line == "/dtp retry dtp-local/a"
    hub.answer(line)
    assert hub.world.jobs_made[job("a", 2)] == 1


def test_the_line_below_a_changed_job_that_is_held_runs_it(hub: Site) -> None:
    hub.github.permissions |= {"bob": "read"}
    hub.merge(7, "a")
    hub.run()
    hub.finish("a")
    hub.run()
    changed: dict[str, str | None] = {path("a"): SCRIPT.format("again")}
    hub.branches.merge(hub.branches.pull(8, changed, author="bob"))
    hub.run()
    (line,) = dict.fromkeys(lines(hub.status(8)))
    hub.answer(line, by="bob", number=8)
    assert hub.world.jobs_made[job("a", 2)] == 1


@tries("core/commands.py", "/dtp status", "/dtp logs JOB [n]", "/dtp files JOB", "/dtp retry JOB")
@tries("core/commands.py", "/dtp cancel JOB")
@tries("core/commands.py", "/dtp help")
@tries(
    "core/comment.py",
    "_The logs of {} more have no room here: `/dtp logs JOB` in a comment shows one._",
    "In a comment here, `/dtp status JOB` tells more about a job, `/dtp logs JOB` shows the end of"
    " its log, `/dtp files JOB` what arrived, `/dtp retry JOB` runs it again. Its files and its"
    " whole log lie on the shared volume in `/workspace/dtp-jobs/JOB`.",
)
@tries(
    "tell.py",
    "It is not certain that this was done: the cluster could not be asked, or its answer was lost."
    " The run of the workflow says why, to those who look after it. Look with `/dtp status` in a"
    " while, and comment again if nothing came of it.",
)
def test_each_command_of_the_help_is_answered_with_what_it_promises(hub: Site) -> None:
    hub.github.permissions |= {"ada": "read"}
    hub.merge(7, "a")
    hub.run()
    hub.finish("a", 3, log=f"what it printed\n{ARRIVED}\n")
    hub.run()
    (told,) = hub.answer("/dtp help")
    forms = re.findall(r"`(/dtp [^`]+)`", told)
    assert [form.split()[1] for form in forms] == list(Verb)
    promised = {
        "status": "failed",
        "logs": "what it printed",
        "files": "genome.fa",
        "retry": "attempt 2: ⏳ **waiting**",
        "cancel": "attempt 2",
        "help": "is answered here",
    }
    for form in forms:
        (answer,) = hub.answer(form.replace("JOB", "dtp-local/a").replace("[n]", "5"))
        assert promised[form.split()[1]] in answer
    hub.run()
    assert "cancelled" in hub.status(7)


@tries(
    "core/phases.py",
    "a second start of this attempt was refused, to keep it from running twice; if dtp files shows"
    " that its data is not complete, or shows nothing, retry",
)
@tries(
    "core/comment.py",
    "The script is not to blame. Part of its work may be done: `/dtp files {ref}` in a comment"
    " lists what arrived. To run it again from its beginning, write a comment here:",
)
def test_what_arrived_before_the_cluster_stopped_a_job_is_listed(hub: Site) -> None:
    hub.github.permissions |= {"ada": "read"}
    hub.merge(7, "a")
    hub.run()
    hub.finish("a", 191, log=f"said\n{ARRIVED}\n")
    hub.run()
    assert "a second start of this attempt was refused" in hub.status(7)
    (line,) = re.findall(r"`(/dtp files [^`]+)` in a comment lists what arrived", hub.status(7))
    (answer,) = hub.answer(line)
    assert "genome.fa" in answer
    hub.answer("/dtp retry dtp-local/a")
    assert hub.world.jobs_made[job("a", 2)] == 1


# --- none is left out ----------------------------------------------------------------------------

# Tried where the situation is made more easily than here.
ELSEWHERE = {
    (
        "adapters/kube_http.py",
        "It may have expired: make a new one (`dtp kubeconfig`), or correct --kubeconfig or"
        " --context.",
    ): "contract/test_kubeconfig.py::test_real_one_is_the_dispatchers_and_no_more",
    (
        "adapters/kube_login.py",
        "`dtp kubeconfig` makes one that holds a token",
    ): "contract/test_kubeconfig.py::test_real_one_is_the_dispatchers_and_no_more",
    (
        "adapters/kube_login.py",
        "`dtp kubeconfig` makes one; put it where this one was (docs/how-to/credentials.md)."
        " Nothing is lost: the next run takes up what was begun.",
    ): "contract/test_kubeconfig.py::test_real_one_is_the_dispatchers_and_no_more",
    (
        "core/catalog.py",
        " without: pin it in {} (`dtp images` shows how)",
    ): "unit/test_image_check.py::test_an_image_without_a_digest_is_told_with_the_one_it_has_now",
    (
        "core/preview.py",
        "comment `/dtp retry {ref}` after the merge, or add the line `#DTP attempt={next}`",
    ): "contract/test_next_commands.py::test_the_line_below_a_changed_job_that_is_held_runs_it",
    (
        "core/preview.py",
        "and goes on; to end it, comment `/dtp cancel {}`",
    ): "contract/test_tell.py::test_a_cancel_delivered_again_does_not_end_a_later_attempt",
    (
        "core/preview.py",
        " running goes on, and `/dtp cancel {}` ends it.",
    ): "contract/test_tell.py::test_a_cancel_delivered_again_does_not_end_a_later_attempt",
    (
        "dispatch.py",
        "Check it with dtp plan, then run this again.",
    ): "contract/test_next_commands.py::test_a_branch_that_was_force_pushed_is_followed",
}
NO_ADVICE = {
    ("adapters/host.py", "dtp run --host needs a POSIX shell")
}  # says what a command needs


def test_no_message_that_names_a_command_is_left_out() -> None:
    known = TRIED.keys() | ELSEWHERE.keys() | NO_ADVICE
    assert set(messages()) - known == set(), "try what it says, in a test above"
    assert known - set(messages()) == set(), "no message says this any more"


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_what_is_tried_elsewhere_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text()
