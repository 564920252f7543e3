"""The commands of researchers: they need no cluster and no account."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtp_action.cli.options import (
    Hub,
    branch_option,
    catalog_option,
    commit_option,
    format_option,
    hub_options,
    option,
    warn,
    workflow,
)
from dtp_action.cli.work import (
    Rows,
    extended,
    print_json,
    read,
    warn_of_uncommitted,
    working_catalog,
)
from dtp_action.errors import DtpError, Exit, UsageError

if TYPE_CHECKING:
    from dtp_action.adapters.actions import Level, Runner
    from dtp_action.core.catalog import Catalog
    from dtp_action.core.model import Desired
    from dtp_action.core.preview import Preview
    from dtp_action.core.pulls import Disabled, Pulls, WorkflowRun
    from dtp_action.core.scripts import File
    from dtp_action.core.status_document import StatusDocument


MOST_RUNS = 10  # looked through for a status.json; those that only list or show leave none


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@catalog_option
@format_option
@click.pass_obj
def check(directory: Path, paths: tuple[str, ...], catalog: str | None, form: str) -> Exit:
    """Check the scripts of the working tree."""
    from dtp_action.adapters import checkout
    from dtp_action.core import report, scripts
    from dtp_action.core.model import Severity

    files = checkout.working_tree(directory, paths)
    desired = checked(files, working_catalog(directory, catalog))
    found = scripts.findings(desired)
    if form == "json":
        print_json(findings=report.findings(found))
    else:
        print_check(report.findings(found), len(desired.wanted))
        if not desired.wanted and any(file.path.endswith(".sh.example") for file in files):
            click.echo("Examples never run: copy one to a name that ends in `.sh`.")
        warn_of_uncommitted(directory, paths)
    bad = any(finding.severity is Severity.ERROR for finding in found)
    return Exit.BAD_OUTCOME if bad else Exit.DONE


def checked(files: list[File], rows: Catalog) -> Desired:
    """Return what these files ask for, with all that is to be said about them before they run."""
    from dtp_action.adapters import lint, shells
    from dtp_action.core import scripts

    desired = scripts.discover(files, commit="", catalog=rows, settings=None)
    return scripts.reject(desired, (*shells.syntax_findings(desired), *lint.findings(desired)))


def print_check(rows: Rows, count: int) -> None:
    """Print findings as compilers do, and how many there are."""
    from dtp_action.adapters import terminal

    out = terminal.console()
    if rows:
        out.print(terminal.findings_text(rows), soft_wrap=True)
    errors = sum(row["severity"] == "error" for row in rows)
    counted = ((count, "script"), (errors, "error"), (len(rows) - errors, "warning"))
    out.print(", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counted))


@click.command()
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option("--host", is_flag=True, help="Run it in this machine's shell, with this machine's tools.")
@option("--workspace", type=click.Path(path_type=Path), metavar="DIR",
        help="The folder used as the shared volume. Default: a new one.")  # fmt: skip
@catalog_option
@click.pass_obj
def run(
    directory: Path, script: Path, host: bool, workspace: Path | None, catalog: str | None
) -> int:
    """Check one script and run it here, as a job would run it."""
    from dtp_action.adapters import checkout, terminal
    from dtp_action.adapters import host as machine
    from dtp_action.core import report, scripts

    if not host:
        raise UsageError(
            "running in the protocol's image is not there yet",
            hint=f"to run the script with this machine's own tools: dtp run --host {script}",
        )
    ref = machine.named(script)
    rows = machine.rows(working_catalog(machine.repository(script) or directory, catalog))
    desired = checked(checkout.script(script, ref.path), rows)
    found = (replace(one, path=str(script)) for one in scripts.findings(desired))
    if listed := report.findings(found):
        click.echo(terminal.findings_text(listed).plain, err=True)
    if not (wanted := desired.wanted.get(ref)):
        raise UsageError(f"{script} is never run as a job", hint="rename it, for example job.sh")
    if not (ready := wanted.script) or not (row := rows.row(ref.protocol)):
        click.echo("not run: correct the errors above first", err=True)
        return Exit.BAD_OUTCOME
    return machine.run(ready, row, workspace)


@click.command()
@option("--base", metavar="COMMIT", help="What it is merged into; else as the event says.")
@option("--status", "document", metavar="FILE",
        help="A dispatch's status.json; else the newest that dispatch left on GitHub.")  # fmt: skip
@option("--status-workflow", "dispatcher", default="dispatch.yml schedule.yml", show_default=True,
        metavar="FILES", help="Whose runs leave it; a merge starts the first.")  # fmt: skip
@commit_option
@branch_option
@catalog_option
@hub_options
@option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown",
        help="How to print.")  # fmt: skip
@click.pass_obj
def preview(
    directory: Path,
    /,
    base: str | None,
    document: str | None,
    dispatcher: str,
    commit: str | None,
    branch: str | None,
    catalog: str | None,
    hub: Hub,
    form: str,
) -> Exit:
    """Show what merging a pull request will do."""
    pulls = hub.pulls()
    proposals = proposed(base, commit, branch, pulls)
    if not proposals:
        click.echo("no open pull request has this commit: nothing to preview")
    if not commit:
        warn_of_uncommitted(directory)
    told = []
    for one in proposals:
        last = Last(status_of(document) if document else None)
        if not document and pulls:
            last = last_status(directory, pulls, dispatcher.split(), hub.name(one.into), one.into)
        with told_if_it_fails(one, hub, pulls):
            told.append(show(directory, one, last, catalog, hub, pulls, form))
    return max(told, default=Exit.DONE)


@contextmanager
def told_if_it_fails(proposal: Proposal, hub: Hub, pulls: Pulls | None) -> Iterator[None]:
    """Where a preview cannot be made, say so in the comment that has an earlier one."""
    try:
        yield
    except Exception as error:
        from dtp_action import tell
        from dtp_action.core import comment
        from dtp_action.core.telling import Previewed

        runner, audience = workflow(), hub.audience(proposal.into, pulls)
        if proposal.number and audience:
            why = error.message if isinstance(error, DtpError) else "internal error"
            name, url = hub.name(proposal.into), runner.run_url if runner else ""
            text = comment.preview_failed(proposal.commit, why, cluster=name, run_url=url)
            about = Previewed(commit=proposal.commit, into=proposal.into or "", scripts=frozenset())
            for warning in tell.before_merge(audience, proposal.number, text, about).warnings:
                warn(warning)
        raise


def show(
    directory: Path,
    proposal: Proposal,
    last: Last,
    catalog: str | None,
    hub: Hub,
    pulls: Pulls | None,
    form: str,
) -> Exit:
    """Print one preview; in a workflow, leave it there or on its pull request."""
    from dtp_action import tell
    from dtp_action.core import comment, telling
    from dtp_action.core import preview as forms

    runner, name = workflow(), hub.name(proposal.into)
    seen = foreseen(directory, proposal, last.document, catalog)
    seen = replace(seen, disabled=last.disabled)
    text = comment.preview(seen, cluster=name, run_url=runner.run_url if runner else "")
    if form == "json":
        print_json(**forms.dump(seen))
    else:
        click.echo(text)
    if runner:
        runner.summarise(text)
    audience = hub.audience(proposal.into, pulls)
    if proposal.number and audience:
        about = telling.previewed(seen)
        for warning in tell.before_merge(audience, proposal.number, text, about).warnings:
            warn(warning)
        return Exit.DONE
    if runner:
        annotate(runner, seen)
    return Exit.BAD_OUTCOME if seen.rejected else Exit.DONE


def annotate(runner: Runner, seen: Preview) -> None:
    """Show findings beside their lines."""
    from dtp_action.core.model import Severity

    for finding in seen.all_findings:
        level: Level = "error" if finding.severity is Severity.ERROR else "warning"
        runner.annotate(level, finding.message, file=finding.path, line=finding.line)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is to be merged into what. `number` is there where its comment is to be written."""

    commit: str
    base: str
    into: str | None  # the branch's name
    author: str | None = None
    number: int | None = None


def proposed(
    base: str | None, commit: str | None, branch: str | None, pulls: Pulls | None
) -> list[Proposal]:
    """Return what is asked about, as told or as the workflow's event says."""
    from dtp_action.adapters import actions

    runner = workflow()
    if runner and runner.event == "workflow_run" and not base:
        return _of_finished_run(runner, pulls)
    event = runner.payload if runner else {}
    into = branch or actions.pull_request_branch(event)
    # The branch as fetched, rather than as it was when the event was made: others merge meanwhile.
    found = base or (into and f"refs/remotes/origin/{into}")
    if not found:
        raise UsageError(
            "nothing says what the change is merged into", hint="for example: --base origin/main"
        )
    head = commit or actions.pull_request_head(event) or "HEAD"
    author = actions.pull_request_author(event)
    return [Proposal(commit=head, base=found, into=into, author=author)]


def _of_finished_run(runner: Runner, pulls: Pulls | None) -> list[Proposal]:
    """Return the open pull requests whose head commit a finished run was about."""
    from dtp_action.adapters import actions

    head = actions.previewed(runner.payload)
    if not head or not pulls:
        return []
    return [
        Proposal(
            commit=head[0],
            base=f"refs/remotes/origin/{pull.base}",
            into=pull.base,
            author=pull.author,
            number=pull.number,
        )
        for pull in pulls.open_pulls(*head)
    ]


def status_of(file: str) -> StatusDocument:
    """Return how jobs stood by a file that a dispatch left."""
    from dtp_action.core import status_document

    return status_document.load(read(file))


@dataclass(frozen=True)
class Last:
    """How jobs stood after the last dispatch, and which dispatching workflows are disabled."""

    document: StatusDocument | None = None
    disabled: tuple[Disabled, ...] = ()


def last_status(
    directory: Path, pulls: Pulls, files: list[str], cluster: str, branch: str | None
) -> Last:
    """Return how jobs stood after the branch's last dispatch, as far as known.

    Any run may upload something under that name. What counts is what dispatching workflows left, on
    this branch or on the default branch, where schedules run.
    """
    from dtp_action.core import status_document

    disabled: tuple[Disabled, ...] = ()
    try:
        there, disabled = dispatching(pulls, files)
        runs = [run for file in there for run in pulls.runs(file)]
        ours = our_runs(directory, runs, branch)
        artifact = status_document.artifact(cluster)
        left = (pulls.status_document(run, artifact) for run in ours)
        content = next(filter(None, left), None)
        found = status_document.load(content) if content else None
    except DtpError as error:
        warn(f"{error.message}: the preview does not know how jobs stand")
        return Last(disabled=disabled)
    if not there or (runs and not ours):
        what = f"found no recent run of {' or '.join(files)} on branch {branch}"
        warn(f"{what}: the preview does not know how jobs stand")
    return Last(found, disabled)


def dispatching(pulls: Pulls, files: list[str]) -> tuple[list[str], tuple[Disabled, ...]]:
    """Return the workflows that are there, and those of them that are disabled."""
    from dtp_action.core.pulls import ACTIVE, Disabled

    states = {file: pulls.workflow_state(file) for file in files}
    there = [file for file, state in states.items() if state]
    disabled = tuple(
        Disabled(workflow=file, state=state, starts=file == files[0])
        for file, state in states.items()
        if state and state != ACTIVE
    )
    return there, disabled


def our_runs(
    directory: Path, runs: list[WorkflowRun], branch: str | None
) -> tuple[WorkflowRun, ...]:
    """Return the last runs that may be believed, newest first."""
    from dtp_action.adapters import actions, checkout
    from dtp_action.core.pulls import dispatches

    runner, holds = workflow(), functools.partial(checkout.holds, directory)
    named = (branch, actions.default_branch(runner.payload) if runner else None)
    newest = sorted(runs, key=lambda run: run.id, reverse=True)
    return tuple(islice(dispatches(newest, set(filter(None, named)), holds), MOST_RUNS))


def foreseen(
    directory: Path, proposal: Proposal, document: StatusDocument | None, catalog: str | None
) -> Preview:
    """Return what merging will do."""
    from dtp_action.adapters import checkout, lint, shells
    from dtp_action.core import preview, scripts

    merge = checkout.merged(directory, proposal.base, proposal.commit)
    rows = preview.rows_of(merge)
    if catalog:
        given = extended(catalog, lambda: None)
        rows = preview.Rows(given, given)
    follows = document.branch if document else None
    if proposal.into not in (None, follows):
        document = None  # of other jobs, or of nobody knows which
    settings = document.settings if document else None
    desired = scripts.discover(
        merge.after, commit=merge.commit, catalog=rows.after, settings=settings
    )
    asked = (*shells.syntax_findings(desired), *lint.findings(desired))
    desired = scripts.reject(desired, (*rows.remarks, *asked))
    seen = preview.foresee(
        merge,
        desired,
        catalog=rows.after,
        before=rows.before,
        document=document,
        author=proposal.author,
    )
    return replace(seen, into=proposal.into or "", follows=follows or "")
