"""What pull requests are told: a cluster in memory, real git, and the stand-in for GitHub."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dtp_action import dispatch, tell
from dtp_action.adapters import checkout
from dtp_action.adapters.pulls import GitHubPulls
from dtp_action.core import catalog, naming, planner, preview, pulls, report, scripts, telling
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Note, Observed, Phase, Ref, Why
from dtp_action.dispatch import Cluster
from dtp_action.errors import ClusterRefusedError, UnavailableError
from dtp_action.tell import Audience, Origins, Told, Work
from tests import builders as b
from tests.fakes import FakeCluster, Fault
from tests.github import fake
from tests.github.branches import BEGIN, DAY, Branches
from tests.github.fake import US, GitHub
from tests.unit.test_dispatch import Clock
from tests.world import World

ROWS = catalog.parse("version: 1\nprotocols: {local: {image: registry.example/x:1}}\n", "test")
SCRIPT = "#!/bin/sh\necho {}\n"
LONG = "#!/bin/sh\n#DTP time=7d\necho\n"
STATUS = pulls.marker("status", "campus")


def path(name: str) -> str:
    return f"dtp-jobs/dtp-local/{name}.sh"


def job(name: str, attempt: int = 1) -> str:
    """Return the name of an attempt."""
    return naming.attempt_name(Ref("local", name), attempt)


@dataclass
class Site:
    """One requests repository with its cluster; `run` is one run of dispatch."""

    branches: Branches
    world: World = field(default_factory=World)
    settings: ClusterSettings = field(default_factory=b.settings)
    logs: bool | None = None
    comment: bool = True
    max_new: int = 25
    fault: Fault | None = None
    spent: list[str] = field(default_factory=list)  # what the last run asked of GitHub
    seen: Observed = field(default_factory=b.observed)  # what the last run knew at its end

    @property
    def github(self) -> GitHub:
        return self.branches.github

    @property
    def api_url(self) -> str:
        """Where GitHub is reached."""
        return self.github.url

    def cluster(self) -> Cluster:
        """Return a run's connection to the cluster."""
        return FakeCluster(self.world, fault=self.fault)

    def pulls(self) -> GitHubPulls:
        return GitHubPulls(
            repository=fake.REPOSITORY,
            token=fake.TOKEN,
            api_url=self.api_url,
            between_requests=0,
            between_writes=0,
            sleep=lambda _seconds: None,
        )

    def work(self) -> Work:
        """Return what a command begins with."""
        commit, files = checkout.committed(self.branches.root, "main")
        desired = scripts.discover(files, commit=commit, catalog=ROWS, settings=self.settings)
        us = self.pulls()
        origins = Origins(
            history=functools.partial(checkout.brought_by, self.branches.root, commit),
            line=functools.partial(checkout.line_to, self.branches.root, commit),
            commit=commit,
            branch="main",
            pulls=us,
        )

        def resolve(script: Any, author: str | None) -> Any:
            return catalog.resolve(script, catalog=ROWS, settings=self.settings, author=author)

        return Work(
            cluster=self.cluster(),
            settings=self.settings,
            desired=desired,
            policy=b.a_policy(resolve=resolve, origins=origins, max_new=self.max_new),
            line=planner.Line(
                follows=functools.partial(checkout.follows, self.branches.root),
                place=lambda: us.place(desired.commit, "main"),
            ),
            origins=origins,
            audience=Audience(
                pulls=us,
                cluster="campus",
                comment=self.comment,
                logs=self.logs,
                repository_url=f"https://github.com/{fake.REPOSITORY}",
                run_url="https://github.com/lab/requests/actions/runs/1",
            ),
        )

    def run(self, **policy: Any) -> Told:
        """Dispatch once and tell; the keywords change the run's policy."""
        before = len(self.github.asked)
        work = self.work()
        work = replace(work, policy=replace(work.policy, **policy))
        result = dispatch.run(
            work.cluster,
            work.desired,
            work.policy,
            line=work.line,
            patience=Clock().patience(0),
            source=lambda observed: b.SOURCE,
        )
        self.seen = tell.attributed(work, result.observed)
        told = tell.everybody(work, self.seen)
        self.spent = self.github.asked[before:]
        return told

    def merge(self, number: int, *names: str, text: str = "", author: str = "ada") -> str:
        """Merge a pull request that adds scripts; return the merge commit."""
        files: dict[str, str | None] = {path(n): text or SCRIPT.format(n) for n in names}
        return self.branches.merge(self.branches.pull(number, files, author=author))

    def finish(self, name: str, exit_code: int = 0, attempt: int = 1, log: str = "said\n") -> None:
        """The job runs and ends."""
        self.world.run(job(name, attempt), log)
        self.world.finish(job(name, attempt), exit_code)

    def status(self, number: int) -> str:
        """Return the one comment that is kept true."""
        (found,) = [body for body in self.github.on(number) if body.startswith(STATUS)]
        return found

    def mentions(self, number: int) -> list[str]:
        return [body for body in self.github.on(number) if not body.startswith(STATUS)]

    def answer(self, body: str, *, by: str = "ada", number: int = 7) -> list[str]:
        """Comment as somebody, deliver the event, return what was said in answer."""
        comment = self.github.comment(number, body, by)
        return self.deliver(comment)

    def deliver(self, comment: fake.Comment) -> list[str]:
        before = list(self.github.on(comment.number))
        work = self.work()
        assert work.audience

        def begin() -> tuple[Work, Any]:
            return work, dispatch.look(work.cluster)

        tell.answer(work.audience, comment.node, branch="main", begin=begin)
        after = self.github.on(comment.number)
        return [body for body in after if body not in before and not body.startswith(STATUS)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fake.serve() as github:
        github.visibility = "private"
        yield Site(Branches(tmp_path / "requests", github))


# --- after the merge -----------------------------------------------------------------------------


def test_a_merged_job_is_told_on_its_pull_request_and_commit(site: Site) -> None:
    merge = site.merge(7, "a")

    site.run()

    assert "dtp-local/a" in site.status(7)
    assert site.github.said(merge) == [("dtp / campus", "pending")]
    assert site.mentions(7) == []


def test_the_end_is_told_with_the_log_and_mentioned_once(site: Site) -> None:
    merge = site.merge(7, "a", "b")
    site.run()
    site.finish("a", log="all is well\n")
    site.finish("b", 3, log="no such bucket\n")

    site.run()
    site.run()

    assert "no such bucket" in site.status(7)
    (mention,) = site.mentions(7)
    assert "@ada" in mention
    assert site.github.said(merge)[-1] == ("dtp / campus", "failure")


def test_a_second_end_is_mentioned_by_a_second_comment(site: Site) -> None:
    site.merge(7, "a", "b")
    site.run()
    site.finish("a")
    site.run()
    site.finish("b")
    site.run()
    assert len(site.mentions(7)) == 2


def test_with_nothing_new_nothing_is_written_and_two_calls_are_made_at_most(site: Site) -> None:
    site.merge(7, "a")
    site.merge(8, "bad", text="#!/bin/perl\n")
    site.run()
    site.finish("a")
    site.run()
    before = [(c.id, c.body) for c in site.github.comments]

    site.run()

    assert [(c.id, c.body) for c in site.github.comments] == before
    assert len(site.spent) <= 2
    assert all(line.endswith("/graphql") for line in site.spent)


def test_with_nothing_at_all_github_is_not_asked(site: Site) -> None:
    site.run()
    assert site.spent == []


def test_fifty_scripts_in_ten_pull_requests_cost_two_queries_and_two_writes_each(
    site: Site,
) -> None:
    site.max_new = 50
    for number in range(10):
        site.merge(number + 1, *(f"job-{number}-{n}" for n in range(5)))

    site.run()

    queries = [line for line in site.spent if line.endswith("/graphql")]
    assert len(queries) == 2
    assert len(site.spent) - len(queries) == 20
    assert all(f"dtp-local/job-3-{n}" in site.status(4) for n in range(5))


def test_a_direct_push_gets_a_commit_status_alone(site: Site) -> None:
    commit = site.branches.commit({path("a"): SCRIPT.format("a")})
    site.run()
    assert site.github.comments == []
    assert site.github.said(commit) == [("dtp / campus", "pending")]


def test_adopted_jobs_are_nobodys_news(site: Site) -> None:
    site.merge(7, "a")
    site.run(adopt=True)
    assert site.github.comments == []


def previewed(
    site: Site, number: int, branch: Mapping[str, str], into: str = "main", cluster: str = "campus"
) -> telling.Previewed:
    """Write the preview of a pull request; return what its hidden line tells."""
    audience = site.work().audience
    assert audience
    files = [
        scripts.File(path=one, mode=0o100644, blob=b.a_blob(text.encode()), content=text.encode())
        for one, text in branch.items()
    ]
    merge = preview.Merge(commit=site.branches.head(), before=(), after=tuple(files))
    desired = scripts.discover(files, commit="", catalog=ROWS, settings=None)
    seen = replace(preview.foresee(merge, desired, catalog=ROWS), into=into)
    about = telling.previewed(seen)
    tell.before_merge(replace(audience, cluster=cluster), number, "When merged: 1 runs", about)
    return about


def test_the_preview_and_the_status_are_one_comment(site: Site) -> None:
    branch = {path("a"): SCRIPT.format("a")}
    pull = site.branches.pull(7, dict(branch))
    for _ in range(2):
        about = previewed(site, 7, branch)
    assert site.status(7) == f"{STATUS}\n{about.line}\nWhen merged: 1 runs"
    site.branches.merge(pull)
    site.run()
    assert "When merged" not in site.status(7)
    assert "What ran is not" not in site.status(7)


def test_what_ran_though_another_commit_was_previewed_is_told_as_long_as_the_comment_stands(
    site: Site,
) -> None:
    pull = site.branches.pull(7, {path("a"): SCRIPT.format("a"), path("b"): SCRIPT.format("b")})
    about = previewed(site, 7, {path("a"): SCRIPT.format("mine"), path("b"): SCRIPT.format("b")})
    site.branches.merge(pull)
    site.run()
    told = f"not what the preview of commit `{about.commit[:7]}` showed: `dtp-local/a`."
    assert told in site.status(7)
    site.finish("a")
    site.finish("b")
    site.run()
    assert told in site.status(7)
    site.run()
    assert not [line for line in site.spent if line.startswith("PATCH")]


def test_a_pull_request_that_goes_to_another_branch_keeps_no_preview_of_the_first(
    site: Site,
) -> None:
    branch = {path("a"): SCRIPT.format("a")}
    site.branches.pull(7, dict(branch))
    previewed(site, 7, branch, into="north", cluster="north")
    previewed(site, 7, branch, into="south", cluster="south")
    previewed(site, 7, branch, into="south", cluster="another of the south")
    found = [telling.read_previewed(body) for body in site.github.on(7)]
    assert [about.into for about in found if about] == ["south", "south"]


@pytest.mark.parametrize("into", ["main", "", "a--b/c.d", "ü"])
def test_the_hidden_line_of_a_preview_is_read_back(into: str) -> None:
    about = telling.Previewed(commit=b.COMMIT, into=into, scripts=frozenset({"0" * 8, "1" * 8}))
    assert telling.read_previewed(f"{STATUS}\n{about.line}\nText") == about
    assert telling.read_previewed(f"{STATUS}\nText\nText\n{about.line}") is None
    assert "--" not in about.line.removeprefix("<!--").removesuffix("-->")


def test_what_ended_long_ago_and_is_settled_now_is_news(site: Site) -> None:
    site.merge(7, "a", "b")
    site.run()
    site.run()
    site.finish("a")
    site.world.lose_job(job("b"))
    site.world.pass_time(10 * 86_400)
    site.run()
    (mention,) = site.mentions(7)
    assert "1 done" in mention
    assert "lost" in mention


def test_a_cluster_that_cannot_be_read_while_telling_is_a_warning(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.world.run(job("a"))
    site.fault = Fault(at=1, only="get pods/log", error=UnavailableError("no answer"))
    assert "no answer" in site.run().warnings[0]


def test_every_end_is_told_however_many_there_are(site: Site) -> None:
    site.max_new = 60
    for number in range(1, 56):
        site.merge(number, f"job-{number}")
    site.run()
    for number in range(1, 56):
        site.finish(f"job-{number}")
    site.run()
    assert all(len(site.mentions(number)) == 1 for number in range(1, 56))
    assert all("1 done" in site.status(number) for number in range(1, 56))


def test_an_old_long_job_is_told_though_many_newer_ones_have_ended(site: Site) -> None:
    site.max_new = 60
    for number in range(1, 31):
        site.merge(number, f"job-{number}", text=LONG)
    site.run()
    for number in range(2, 31):
        site.finish(f"job-{number}")
    site.run()
    site.world.run(job("job-1"))
    site.world.pass_time(4 * 86_400)
    site.world.finish(job("job-1"))
    site.run()
    assert len(site.mentions(1)) == 1


def test_a_commit_that_had_a_failure_does_not_turn_green(site: Site) -> None:
    merge = site.merge(7, "a", "b", text=LONG)
    site.run()
    site.finish("a", 1)
    site.run()
    site.world.run(job("b"))
    site.world.pass_time(4 * 86_400)
    site.world.finish(job("b"))
    site.run()
    assert site.github.said(merge)[-1] == ("dtp / campus", "failure")


def test_a_status_that_could_not_be_set_for_two_days_is_set_then(site: Site) -> None:
    merge = site.merge(7, "a")
    site.run()
    site.finish("a")
    site.github.denied.add("statuses")
    site.run()
    site.world.pass_time(2 * 86_400)
    site.github.denied.clear()
    site.run()
    assert site.github.said(merge)[-1] == ("dtp / campus", "success")


def test_overlapping_mentions_leave_the_one_that_says_most(site: Site) -> None:
    site.merge(7, "a", "b")
    site.run()
    site.finish("a")
    site.run()
    (first,) = site.mentions(7)
    site.github.comments = [c for c in site.github.comments if c.body != first]
    site.finish("b")
    site.run()
    (both,) = site.mentions(7)
    site.github.comment(7, first, US)
    site.run()
    assert site.mentions(7) == [both]


def test_adoption_ends_a_preview_that_stands_already(site: Site) -> None:
    branch = {path("a"): SCRIPT.format("a")}
    pull = site.branches.pull(7, dict(branch))
    previewed(site, 7, branch)
    site.branches.merge(pull)
    site.run(adopt=True)
    assert "adopted" in site.status(7)
    assert site.mentions(7) == []


# --- what does not run ---------------------------------------------------------------------------


def test_a_script_rejected_after_the_merge_is_told_with_its_line(site: Site) -> None:
    site.merge(7, "bad", text="#!/bin/sh\n#DTP cpu=9999\n")
    site.run()
    assert "cpu=9999" in site.status(7)
    assert site.github.statuses == {}


def test_a_changed_job_that_is_held_is_told_where_it_was_changed(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.finish("a")
    site.run()
    changed: dict[str, str | None] = {path("a"): SCRIPT.format("again")}
    site.branches.merge(site.branches.pull(8, changed, author="bob"))

    site.run()

    assert "/dtp retry dtp-local/a" in site.status(8)


def test_a_rebase_of_old_commits_is_news(site: Site) -> None:
    pull = site.branches.pull(7, {path("bad"): "#!/bin/perl\n"})
    site.branches.days += 30
    site.branches.rebase(pull)
    site.world.now = datetime.fromtimestamp(BEGIN + DAY * site.branches.days, UTC)
    site.run()
    assert "rejected" in site.status(7)


def test_what_is_held_stays_told_while_another_job_is_run_by_name(site: Site) -> None:
    site.merge(7, "a")
    site.merge(8, "bad", text="#!/bin/perl\n")
    site.run()
    before = site.status(8)
    work = site.work()
    work = replace(work, policy=replace(work.policy, only=Ref("local", "a")))
    tell.everybody(work, tell.attributed(work, dispatch.look(work.cluster)))
    assert site.status(8) == before


def test_a_rejected_script_stays_told_as_long_as_its_pull_requests_comment_is_kept(
    site: Site,
) -> None:
    pull = site.branches.pull(7, {path("a"): SCRIPT.format("a"), path("bad"): "#!/bin/perl\n"})
    site.branches.merge(pull)
    site.world.now = datetime.fromtimestamp(BEGIN + DAY * site.branches.days, UTC)
    site.run()
    site.world.pass_time(6 * 86_400)
    site.finish("a")
    site.run()
    site.world.pass_time(3 * 86_400)
    site.run()
    assert "1 rejected" in site.status(7)


def test_an_old_rejected_script_is_no_news(site: Site) -> None:
    site.merge(7, "bad", text="#!/bin/perl\n")
    site.world.now = b.NOON.replace(year=2040)
    site.run()
    assert site.github.comments == []


# --- when GitHub does not help -------------------------------------------------------------------


def test_what_github_could_not_take_is_told_by_the_next_run(site: Site) -> None:
    site.merge(7, "a")
    site.github.denied.add("pull-requests")

    told = site.run()

    assert "pull-requests: write" in told.warnings[0]
    assert site.world.jobs_made[job("a")] == 1
    site.github.denied.clear()
    assert site.run().warnings == ()
    assert "dtp-local/a" in site.status(7)


def test_a_pull_request_that_github_could_not_name_is_found_by_the_next_run(site: Site) -> None:
    site.merge(7, "a")
    site.github.troubles.append(fake.query_error("Something", "FORBIDDEN", times=2))

    told = site.run()

    assert told.warnings
    assert site.world.jobs_made[job("a")] == 1
    site.run()
    assert "dtp-local/a" in site.status(7)


def candidates_asked(site: Site) -> int:
    """Return how many requests of the last run were not about comments and statuses, at least."""
    return max(0, len(site.spent) - 1)


def test_a_pull_request_that_github_links_late_is_found_and_told_everywhere(site: Site) -> None:
    merge = site.merge(7, "a")
    link = site.github.linked.pop(merge)
    site.run()
    assert site.github.comments == []
    site.finish("a")
    site.run()
    site.github.linked[merge] = link
    site.world.pass_time(60)

    site.run()

    assert "1 done" in site.status(7)
    assert "@ada" in site.mentions(7)[0]
    assert "/pull/7#" in site.github.statuses[merge][-1]["target_url"]
    (row,) = report.jobs(site.seen)
    assert (row["pull_request"], row["author"], row["merged_by"]) == (7, "ada", "grace")
    assert site.world.entries[job("a")].origin == site.seen.entries[0].origin, "it is remembered"


def test_asked_is_by_the_commit_that_was_recorded_though_the_script_changed_since(
    site: Site,
) -> None:
    site.merge(7, "a")
    site.github.troubles.append(fake.query_error("Something", "FORBIDDEN", times=2))
    assert site.run().warnings
    site.finish("a")
    changed: dict[str, str | None] = {path("a"): SCRIPT.format("again")}
    site.branches.merge(site.branches.pull(8, changed, author="bob"))
    site.run()
    assert "1 done" in site.status(7)
    assert "/dtp retry dtp-local/a" in site.status(8)


def test_a_rebase_that_github_links_late_is_found_below_newer_commits(site: Site) -> None:
    pull = site.branches.pull(7, {path("a"): SCRIPT.format("a")}, {"docs.md": "x"})
    site.branches.rebase(pull)
    links, site.github.linked = site.github.linked, {}
    site.run()
    site.branches.commit({path("a"): SCRIPT.format("again"), "README.md": "later"})
    site.github.linked = links
    site.run()
    assert "dtp-local/a" in site.status(7)


def test_a_direct_push_is_asked_about_until_none_can_be_believed_and_then_never(
    site: Site,
) -> None:
    site.branches.commit({path("a"): SCRIPT.format("a")})
    site.run()
    origin = site.world.entries[job("a")].origin
    site.world.pass_time(pulls.BELIEVED.total_seconds() - 1)
    site.run()
    assert site.world.entries[job("a")].origin == origin, "a minute early is too early"
    assert len(site.spent) <= 2

    site.world.pass_time(1)
    site.run()

    assert len(site.spent) <= 2
    assert site.world.entries[job("a")].origin == replace(origin, asked=True)
    version = site.world.entries[job("a")].version
    site.run()
    assert candidates_asked(site) == 0
    assert site.world.entries[job("a")].version == version


def test_with_late_links_and_rejected_scripts_two_calls_are_made_at_most(site: Site) -> None:
    site.branches.commit({path("a"): SCRIPT.format("a")})
    site.branches.commit({path("b"): SCRIPT.format("b")})
    site.merge(8, "bad", text="#!/bin/perl\n")
    site.run()
    site.run()
    assert len(site.spent) <= 2


def test_what_is_not_known_of_a_hundred_commits_costs_one_question_a_run(site: Site) -> None:
    site.max_new = 100
    for number in range(60):
        site.branches.commit({path(f"job-{number}"): SCRIPT.format(number)})
    site.run()
    site.world.pass_time(pulls.BELIEVED.total_seconds())
    for _ in range(2):
        site.run()
        queries = [line for line in site.spent if line.endswith("/graphql")]
        assert len(queries) <= 3, "one question, and 60 statuses to read"
    assert all(entry.origin.asked for entry in site.world.entries.values())


def test_what_cannot_be_remembered_is_told_all_the_same(site: Site) -> None:
    merge = site.merge(7, "a")
    link = site.github.linked.pop(merge)
    site.run()
    site.github.linked[merge] = link
    refused = ClusterRefusedError("the policy lets nobody write")
    site.fault = Fault(at=1, only="patch configmaps", error=refused)
    told = site.run()
    assert told.warnings == ("the policy lets nobody write",)
    assert "dtp-local/a" in site.status(7)
    site.fault = None
    assert site.run().warnings == ()
    assert site.world.entries[job("a")].origin.pull_request == 7


def test_a_job_with_a_secret_runs_as_soon_as_its_author_is_known(site: Site) -> None:
    site.settings = b.settings(grants={"lab": ("ada",)})
    merge = site.merge(7, "a", text="#!/bin/sh\n#DTP secret=lab\necho\n")
    link = site.github.linked.pop(merge)
    for _ in range(2):
        site.run()
        assert not site.world.entries, "held"
    site.github.linked[merge] = link
    site.run()
    assert site.world.drafts[job("a")].spec.secrets == ("dtp-local", "dtp-local-lab")
    assert "dtp-local/a" in site.status(7)


def test_an_end_that_could_not_be_mentioned_is_mentioned_by_the_next_run(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.finish("a")
    site.github.pulls[7].locked = True
    assert "Unlock" in site.run().warnings[0]
    site.github.pulls[7].locked = False
    site.run()
    assert len(site.mentions(7)) == 1


def test_a_retry_that_breaks_off_half_way_is_not_told_as_not_done(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.finish("a", 1)
    site.run()
    site.fault = Fault(at=1, only="create jobs", error=UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        site.answer("/dtp retry dtp-local/a")
    assert job("a", 2) in site.world.entries
    said = site.mentions(7)[-1]
    assert "Not done" not in said
    assert "/dtp status" in said


def test_a_deleted_comment_comes_back_and_a_pasted_marker_is_left_alone(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.github.comments.clear()
    pasted = f"{STATUS}\nI am the system"
    site.github.comment(7, pasted, "mallory")
    site.run()
    assert "dtp-local/a" in site.status(7)
    assert site.github.on(7, "mallory") == [pasted]


def test_two_runs_at_once_leave_one_mention(site: Site) -> None:
    site.merge(7, "a")
    site.run()
    site.finish("a")
    site.run()
    (mention,) = site.mentions(7)
    site.github.comment(7, mention, US)
    site.run()
    assert site.mentions(7) == [mention]


# --- logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "logs", "shown"),
    [(True, None, False), (False, None, True), (True, True, True), (False, False, False)],
)
def test_logs_are_shown_where_the_repository_is_not_public_or_as_told(
    site: Site, public: bool, logs: bool | None, shown: bool
) -> None:
    site.github.visibility = "public" if public else "private"
    site.logs = logs
    site.merge(7, "a")
    site.run()
    listed = 'dtp-arrived: {"files":[["patient-7.bam",5]],"more":0}'
    site.finish("a", 1, log=f"the secret of life\n\n{listed}\n")
    site.run()
    assert ("the secret of life" in site.status(7)) is shown
    assert ("patient-7.bam" in site.status(7)) is shown
    for verb, words in {"logs": "the secret of life", "files": "patient-7.bam"}.items():
        (answer,) = site.answer(f"/dtp {verb} dtp-local/a")
        assert (words in answer) is shown
    site.merge(8, "b")
    site.run()
    (answer,) = site.answer("/dtp files dtp-local/b", number=8)
    assert "is made when the attempt ends" in answer


def test_without_comments_there_are_statuses(site: Site) -> None:
    site.comment = False
    merge = site.merge(7, "a")
    site.run()
    assert site.github.comments == []
    assert site.github.said(merge) == [("dtp / campus", "pending")]


@pytest.mark.parametrize(("notify", "code", "count"), [
    ("end", 0, 1), ("end", 1, 1), ("fail", 0, 0), ("fail", 1, 1), ("never", 1, 0),
])  # fmt: skip
def test_who_is_mentioned_is_the_scripts_to_say(
    site: Site, notify: str, code: int, count: int
) -> None:
    site.merge(7, "a", text=f"#!/bin/sh\n#DTP notify={notify}\necho\n")
    site.run()
    site.finish("a", code)
    site.run()
    assert len(site.mentions(7)) == count


# --- answers -------------------------------------------------------------------------------------


@pytest.fixture
def failed(site: Site) -> Site:
    """Return a site whose one job has failed; ada opened, grace can write."""
    site.merge(7, "a")
    site.run()
    site.finish("a", 3)
    site.run()
    site.github.permissions |= {"ada": "read", "grace": "write", "mallory": "read"}
    return site


def test_an_author_runs_their_failed_job_again(failed: Site) -> None:
    (answer,) = failed.answer("/dtp retry dtp-local/a")
    assert "dtp-local/a" in answer
    assert failed.world.jobs_made[job("a", 2)] == 1
    assert failed.github.reactions[-1][1] == "eyes"
    assert "1 waiting" in failed.status(7)


def test_a_comment_acts_once_however_often_it_is_delivered(failed: Site) -> None:
    comment = failed.github.comment(7, "/dtp retry dtp-local/a", "ada")
    failed.deliver(comment)
    failed.finish("a", 3, attempt=2)
    failed.run()
    assert failed.deliver(comment) == []
    assert job("a", 3) not in failed.world.jobs_made


def test_a_lost_answer_does_not_act_twice(failed: Site) -> None:
    comment = failed.github.comment(7, "/dtp retry dtp-local/a", "ada")
    failed.deliver(comment)
    failed.finish("a", 3, attempt=2)
    failed.run()
    failed.github.comments = [c for c in failed.github.comments if " answer " not in c.body[:60]]
    failed.deliver(comment)
    assert job("a", 3) not in failed.world.jobs_made


@pytest.fixture
def three(failed: Site) -> Site:
    """Return a site whose jobs a, b and c have failed, all of pull request 7 or ada's 8."""
    failed.merge(8, "b", "c")
    failed.run()
    failed.finish("b", 3)
    failed.finish("c", 3)
    failed.run()
    return failed


ALL = "/dtp retry dtp-local/b\n/dtp retry dtp-local/c"


@pytest.mark.parametrize("body", [ALL, f"```text\n{ALL}\n```", ALL.replace("/dtp r", "/DTP R")])
def test_every_command_of_a_comment_is_carried_out_and_answered_in_one(
    three: Site, body: str
) -> None:
    (answer,) = three.answer(body, number=8)
    assert three.world.jobs_made[job("b", 2)] == three.world.jobs_made[job("c", 2)] == 1
    assert answer.index("`/dtp retry dtp-local/b`") < answer.index("`/dtp retry dtp-local/c`")
    assert "2 waiting" in three.status(8)


def test_what_one_command_may_not_does_not_keep_the_others_from_it(three: Site) -> None:
    body = "/dtp retry dtp-local/a\n/dtp retri\n/dtp retry dtp-local/b\n/dtp status"
    (answer,) = three.answer(body, number=8)
    assert job("a", 2) not in three.world.jobs_made
    assert three.world.jobs_made[job("b", 2)] == 1
    assert answer.index("another pull request") < answer.index("did you mean `retry`?")
    assert answer.index("did you mean") < answer.index("`dtp-local/b`, attempt 2")
    assert "1 waiting" in answer, "a later command sees what an earlier one did"


def test_commands_act_in_order(three: Site) -> None:
    three.answer("/dtp retry dtp-local/b\n/dtp cancel dtp-local/b", number=8)
    intent = three.world.entries[job("b", 2)].intent
    assert intent
    assert intent.why is Why.CANCEL
    (again,) = three.answer("/dtp cancel dtp-local/c\n/dtp retry dtp-local/c", number=8)
    assert "Not done" in again
    assert three.world.jobs_made[job("c", 2)] == 1


@pytest.mark.parametrize("at", range(1, 31, 3))
def test_commands_that_break_off_anywhere_are_done_once_when_delivered_again(
    three: Site, at: int
) -> None:
    body = "/dtp retry dtp-local/b\n/dtp retry dtp-local/c\n/dtp cancel dtp-local/c"
    comment = three.github.comment(8, body, "ada")
    three.fault = Fault(at=at, error=UnavailableError("away"))
    with suppress(UnavailableError):
        three.deliver(comment)
    three.fault = None
    three.deliver(comment)
    three.deliver(comment)
    three.run()
    assert three.world.jobs_made[job("b", 2)] == 1
    assert three.world.jobs_made[job("c", 2)] <= 1, "it may be cancelled before it has a Job"
    cancelled = three.world.entries[job("c", 2)].intent
    assert cancelled
    assert cancelled.why is Why.CANCEL
    answers = [body for body in three.github.on(8) if body.startswith("<!-- dtp-requests answer")]
    assert len(answers) == 1
    three.finish("b", 3, attempt=2)
    three.run()
    three.github.comments = [c for c in three.github.comments if " answer " not in c.body[:60]]
    three.deliver(comment)
    assert job("b", 3) not in three.world.jobs_made
    assert job("c", 3) not in three.world.jobs_made


def test_a_command_below_other_text_is_told_and_not_done(three: Site) -> None:
    (answer,) = three.answer("Hello,\n/dtp retry dtp-local/b", number=8)
    assert "1 line with `/dtp` below other text: not carried out" in answer
    assert job("b", 2) not in three.world.jobs_made


def test_a_stranger_is_told_what_they_have_and_what_it_takes(failed: Site) -> None:
    (answer,) = failed.answer("/dtp retry dtp-local/a", by="mallory")
    assert "`write`" in answer
    assert "`read`" in answer
    assert job("a", 2) not in failed.world.jobs_made


def test_an_author_has_no_say_in_other_jobs_and_a_writer_has(failed: Site) -> None:
    failed.merge(8, "b", author="bob")
    failed.run()
    (answer,) = failed.answer("/dtp cancel dtp-local/b")
    assert "another pull request" in answer
    failed.answer("/dtp cancel dtp-local/b", by="grace")
    intent = failed.world.entries[job("b")].intent
    assert intent
    assert intent.by == "grace"


def test_the_author_of_changed_bytes_may_run_them_and_the_first_author_may_not(
    failed: Site,
) -> None:
    changed: dict[str, str | None] = {path("a"): SCRIPT.format("mine now")}
    failed.branches.merge(failed.branches.pull(8, changed, author="bob"))
    failed.github.permissions["bob"] = "read"
    failed.run()
    failed.finish("a", attempt=2)
    failed.run()
    (refused,) = failed.answer("/dtp retry dtp-local/a", by="ada", number=7)
    assert "another pull request" in refused
    failed.answer("/dtp retry dtp-local/a", by="bob", number=8)
    assert failed.world.jobs_made[job("a", 3)] == 1


def test_before_the_merge_an_author_may_not_act(site: Site) -> None:
    site.branches.pull(7, {path("a"): SCRIPT.format("a")})
    site.github.permissions["ada"] = "read"
    (answer,) = site.answer("/dtp status")
    assert "until this pull request is merged" in answer


@pytest.mark.parametrize("body", ["thanks!", "Use /dtp retry dtp-local/a", "/dtpretry x", ""])
def test_a_comment_that_asks_nothing_is_left_alone(failed: Site, body: str) -> None:
    if body:
        assert failed.answer(body) == []
    assert failed.github.reactions == []


def test_an_edited_comment_a_bot_and_another_branchs_pull_request_do_nothing(
    failed: Site,
) -> None:
    edited = failed.github.comment(7, "/dtp retry dtp-local/a", "grace")
    edited.edited = True
    assert failed.deliver(edited) == []
    assert failed.answer("/dtp retry dtp-local/a", by="robot[bot]") == []
    failed.branches.git("branch", "other")
    failed.branches.pull(9, {path("z"): "#!/bin/sh\n"}, base="other")
    assert failed.answer("/dtp help", by="grace", number=9) == []
    assert failed.github.reactions == []


def test_what_cannot_be_done_is_answered_with_the_reason(failed: Site) -> None:
    (answer,) = failed.answer("/dtp cancel dtp-local/a", by="grace")
    assert "already" in answer
    (unclear,) = failed.answer("/dtp retri dtp-local/a", by="grace")
    assert "did you mean `retry`?" in unclear


def test_a_cluster_that_is_away_is_told_without_its_address_and_the_comment_can_be_tried_again(
    failed: Site,
) -> None:
    comment = failed.github.comment(7, "/dtp retry dtp-local/a", "ada")
    failed.fault = Fault(at=1, error=UnavailableError("https://10.0.0.1:6443 is away"))
    with pytest.raises(UnavailableError):
        failed.deliver(comment)
    assert "could not be asked" in failed.mentions(7)[-1]
    assert "10.0.0.1" not in "".join(failed.mentions(7))
    failed.fault = None
    assert "dtp-local/a" in failed.deliver(comment)[0]
    assert failed.world.jobs_made[job("a", 2)] == 1


def test_an_author_has_a_say_though_github_was_away_when_the_job_was_recorded(
    site: Site,
) -> None:
    site.github.permissions["ada"] = "read"
    site.merge(7, "a")
    site.github.troubles.append(fake.query_error("Something", "FORBIDDEN", times=2))
    site.run()
    (answer,) = site.answer("/dtp status")
    assert "dtp-local/a" in answer


def test_a_cancel_delivered_again_does_not_end_a_later_attempt(failed: Site) -> None:
    failed.answer("/dtp retry dtp-local/a", by="grace")
    stuck = b.an_intent(Why.STUCK)
    name = job("a", 2)
    failed.world.entries[name] = replace(failed.world.entries[name], intent=stuck)
    comment = failed.github.comment(7, "/dtp cancel dtp-local/a", "grace")
    failed.deliver(comment)
    intent = failed.world.entries[name].intent
    assert intent
    assert (intent.why, intent.request) == (Why.STUCK, f"comment-{comment.id}")


def test_a_public_repository_is_not_told_addresses(site: Site) -> None:
    site.github.visibility = "public"
    site.merge(7, "a")
    site.run()
    site.run()
    why = "MountVolume.SetUp failed: mount.nfs: mounting 10.20.30.40:/export/lab failed"
    site.world.make_wait(job("a"), "ContainerCreating")
    site.world.add_event(site.world.pods[job("a")][-1].uid, f"FailedMount: {why}")
    site.world.pass_time(600)
    site.run()
    assert "mounting" in site.status(7)
    assert "10.20" not in str(site.github.comments) + str(site.github.statuses)


def test_a_public_repository_is_not_told_on_which_node_a_job_waits() -> None:
    why = "a Pod of attempt 1 may still be running on node vega: x; the next attempt waits"
    held = Note(ref="dtp-local/a", state="held", reason=why, path=path("a"))
    (note,) = telling.Page(number=7, author=None, notes=(held,)).discreet().notes
    assert note.reason == why.replace("vega", "…")


def test_status_is_answered_with_the_jobs_of_the_pull_request(failed: Site) -> None:
    failed.merge(8, "b", author="bob")
    failed.run()
    (answer,) = failed.answer("/dtp status")
    assert "dtp-local/a" in answer
    assert "dtp-local/b" not in answer
    (other,) = failed.answer("/dtp status dtp-local/b", by="grace")
    assert "dtp-local/b" in other


@pytest.mark.parametrize("verb", ["status", "logs", "retry", "cancel"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\n#DTP cpu=9999\n", ("rejected", "cpu=9999")),
        ("#!/bin/sh\necho\n", ("held", "max-new 2", "--first-run")),
    ],
    ids=["rejected", "held"],
)
def test_what_does_not_run_is_known_to_every_command_with_the_way_out(
    site: Site, verb: str, script: str, said: tuple[str, ...]
) -> None:
    site.max_new = 2
    site.merge(7, "mine", text=script)
    site.merge(8, "b", "c", author="bob")
    site.run()
    (answer,) = site.answer(f"/dtp {verb} dtp-local/mine")
    for words in said:
        assert words in answer.replace("\\", "")
    for untrue in ("no job", "another pull request", "dispatch starts it"):
        assert untrue not in answer


def test_status_is_answered_with_what_the_pull_request_brought_and_does_not_run(
    site: Site,
) -> None:
    site.merge(7, "good")
    site.merge(8, "bad", text="#!/bin/sh\n#DTP cpu=9999\n", author="bob")
    site.run()
    (answer,) = site.answer("/dtp status", by="bob", number=8)
    assert "1 rejected" in answer
    assert "dtp-local/bad" in answer
    assert "dtp-local/good" not in answer


def test_a_secret_is_granted_to_the_author_of_the_pull_request(site: Site) -> None:
    site.settings = b.settings(grants={"lab": ("ada",)})
    site.merge(7, "mine", text="#!/bin/sh\n#DTP secret=lab\necho\n")
    site.merge(8, "theirs", text="#!/bin/sh\n#DTP secret=lab\necho 2\n", author="mallory")
    site.run()
    assert site.world.drafts[job("mine")].spec.secrets == ("dtp-local", "dtp-local-lab")
    assert job("theirs") not in site.world.drafts
    assert "not granted to mallory" in site.status(8)


def test_phases_have_states(site: Site) -> None:
    """Each end shows on the commit as what it is."""
    for number, (code, state) in enumerate([(0, "success"), (1, "failure")], 7):
        merge = site.merge(number, f"job-{number}")
        site.run()
        site.finish(f"job-{number}", code)
        site.run()
        assert site.github.said(merge)[-1][1] == state
    assert {entry.outcome.phase for entry in site.world.entries.values() if entry.outcome} == {
        Phase.SUCCEEDED,
        Phase.FAILED,
    }


# --- who asks, before anything is opened ---------------------------------------------------------


def admitted(site: Site, body: str, *, by: str) -> tuple[bool, list[str]]:
    """Comment as somebody; return whether it is to be carried out, and what was said at once."""
    site.github.denied = {"statuses", "actions", "issues"}  # what the first job's token may not
    comment = site.github.comment(7, body, by)
    before = len(site.github.comments)
    audience = site.work().audience
    assert audience
    found = tell.admit(audience, comment.node, branch="main")
    return isinstance(found, tell.Admitted), [c.body for c in site.github.comments[before:]]


@pytest.mark.parametrize("verb", ["status", "logs dtp-local/a", "retry dtp-local/a"])
def test_who_may_not_ask_is_told_and_not_admitted(site: Site, verb: str) -> None:
    site.merge(7, "a", author="ada")
    site.github.permissions |= {"mallory": "read"}
    may, (said,) = admitted(site, f"/dtp {verb}", by="mallory")
    assert not may
    assert "`write`" in said
    may, (said,) = admitted(site, "/dtp help\n/dtp status\n/dtp retry dtp-local/a", by="mallory")
    assert not may
    assert said.count("`write`") == 2


@pytest.mark.parametrize(("by", "permission"), [("grace", "write"), ("ada", "read")])
def test_who_may_ask_is_admitted_and_answered_later(site: Site, by: str, permission: str) -> None:
    site.merge(7, "a", author="ada")
    site.github.permissions[by] = permission
    assert admitted(site, "/dtp status", by=by) == (True, [])
    assert [content for _, content in site.github.reactions] == ["eyes"]


@pytest.mark.parametrize("body", ["/dtp help", "/dtp frob", "/dtp retry"])
def test_what_needs_no_cluster_is_answered_at_once(site: Site, body: str) -> None:
    site.merge(7, "a")
    may, (said,) = admitted(site, body, by="grace")
    assert not may
    assert "/dtp retry" in said


def test_the_author_of_an_unmerged_pull_request_is_not_admitted(site: Site) -> None:
    site.branches.pull(7, {path("a"): SCRIPT.format("a")}, author="mallory")
    site.github.permissions |= {"mallory": "none"}
    may, (said,) = admitted(site, "/dtp status", by="mallory")
    assert not may
    assert "until this pull request is merged" in said


def test_other_comments_and_other_branches_begin_nothing(site: Site) -> None:
    site.merge(7, "a")
    site.github.permissions |= {"grace": "write"}
    assert admitted(site, "thank you", by="grace") == (False, [])
    assert admitted(site, "/dtp status", by="deploy[bot]") == (False, [])
    site.github.pulls[7].base = "north"
    assert admitted(site, "/dtp status", by="grace") == (False, [])


def test_where_github_does_not_say_who_asks_nobody_is_admitted(site: Site) -> None:
    site.merge(7, "a")
    site.github.permissions |= {"grace": "write"}
    site.github.troubles.append(fake.bad_gateway("GET .*permission", effect=False, times=99))
    with pytest.raises(UnavailableError):
        admitted(site, "/dtp status", by="grace")
