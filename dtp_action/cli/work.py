"""What commands share: beginning with a cluster and a branch, ending with a report.

Composes adapters, core and the loops; decides nothing.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtp_action.cli.options import NOBODY, Bounds, Branch, Hub, Site, warn, workflow
from dtp_action.errors import DtpError, UsageError

if TYPE_CHECKING:
    from dtp_action.adapters.actions import Runner
    from dtp_action.core.catalog import Catalog
    from dtp_action.core.cluster_settings import ClusterSettings
    from dtp_action.core.model import Action, Finding, Note, Observed, Place, Ref
    from dtp_action.core.planner import Policy
    from dtp_action.core.pulls import Pulls
    from dtp_action.dispatch import Cluster
    from dtp_action.tell import Origins, Told, Work

Rows = list[dict[str, Any]]


# --- beginning -----------------------------------------------------------------------------------


def working_catalog(directory: Path, file: str | None) -> Catalog:
    """Return the protocol rows of the working tree, or those of a file."""
    from dtp_action.core.catalog import SITE_FILE

    site = directory / SITE_FILE
    return extended(file, lambda: read(str(site)) if site.is_file() else None)


def extended(file: str | None, site: Callable[[], bytes | None]) -> Catalog:
    """Return the built-in rows, extended by the file given or else by the branch's own."""
    from dtp_action.core import catalog

    rows = catalog.builtin()
    content = read(file) if file else site()
    return catalog.parse(content, file or catalog.SITE_FILE, base=rows) if content else rows


def read(file: str) -> bytes:
    """Return a file's bytes; raises UsageError."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def begin(
    directory: Path,
    site: Site,
    branch: Branch,
    hub: Hub,
    bounds: Bounds | None = None,
    *,
    cluster: Cluster | None = None,
    tried: Collection[tuple[Ref, str]] = (),
) -> Work:
    """Return what to work on: the cluster, what a commit asks for, and what bounds it.

    `tried` has jobs and blobs whose syntax is of no interest any more.
    """
    from dtp_action.adapters import checkout, sandbox, shells
    from dtp_action.core import catalog, planner, scripts
    from dtp_action.tell import Origins, Work

    if cluster is None:
        cluster = site.open()
        if site.is_local and (gap := sandbox.gap()):
            warn(gap)
    settings = cluster.settings()
    commit, files = checkout.committed(directory, branch.revision(directory))
    rows = extended(
        branch.catalog, lambda: checkout.read_file(directory, commit, catalog.SITE_FILE)
    )
    desired = scripts.discover(files, commit=commit, catalog=rows, settings=settings)
    new = {ref: one for ref, one in desired.wanted.items() if (ref, one.blob) not in tried}
    syntax = shells.syntax_findings(replace(desired, wanted=new))
    pulls = hub.pulls()
    origins = Origins(
        history=functools.partial(checkout.brought_by, directory, commit),
        line=functools.partial(checkout.line_to, directory, commit),
        commit=commit,
        branch=branch.name or "",
        pulls=pulls,
    )
    return Work(
        cluster=cluster,
        settings=settings,
        desired=scripts.reject(desired, syntax),
        policy=_policy(rows, settings, origins, branch, bounds or Bounds()),
        line=planner.Line(
            follows=functools.partial(checkout.follows, directory),
            place=lambda: place(pulls, commit, branch.name, origins.warnings),
        ),
        origins=origins,
        audience=hub.audience(branch.name, pulls),
    )


def _policy(
    rows: Catalog, settings: ClusterSettings, origins: Origins, branch: Branch, bounds: Bounds
) -> Policy:
    """Return what a run is bound by."""
    from dtp_action.core import catalog, planner

    return planner.Policy(
        resolve=lambda script, author: catalog.resolve(
            script, catalog=rows, settings=settings, author=author
        ),
        origins=origins,
        stuck_limit=settings.stuck_limit,
        queue_allowance=settings.queue_allowance,
        retention=settings.retention,
        meanings=rows.meanings,
        run=uuid.uuid4().hex[:12],
        max_new=planner.MAX_NEW if branch.max_new is None else branch.max_new,
        first_run=bounds.first_run,
        adopt=bounds.adopt,
        only=read_ref(bounds.job) if bounds.job else None,
    )


def place(
    pulls: Pulls | None, commit: str, branch: str | None, warnings: list[str]
) -> Place | None:
    """Return where a commit is on GitHub's branch; None, and a warning, where it does not say."""
    if not pulls or not branch:
        return None
    try:
        return pulls.place(commit, branch)
    except DtpError as error:  # no job waits for GitHub: what the clone knows decides
        warnings.append(error.message)
        return None


def warn_of_uncommitted(directory: Path, paths: Iterable[str] = ()) -> None:
    """Warn of scripts that are not committed, where somebody edits them: no job comes of these."""
    from dtp_action.adapters import checkout

    found = [] if workflow() else checkout.uncommitted(directory, paths)
    if not found:
        return
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    verb = "are" if more else "is"
    warn(f"{found[0]}{more} {verb} not committed as here. {checkout.NO_COMMIT}")


def read_ref(text: str) -> Ref:
    """Read a job's ref as people type it; raises UsageError."""
    from dtp_action.core.model import Ref

    try:
        return Ref.parse(text)
    except ValueError as error:
        raise UsageError(str(error), hint="for example dtp-aws/sequence-index") from error


def not_run(
    directory: Path, site: Site, cluster: Cluster, observed: Observed
) -> tuple[Note, ...] | None:
    """Return what the commit that the ledger follows asks for and does not run, and why.

    None, and a warning, where this cannot be told, as in a checkout without that commit.
    """
    from dtp_action.adapters import checkout
    from dtp_action.core import planner, telling

    card = observed.identity
    if card is None:
        return ()
    unknown = "held and rejected scripts are not listed"
    if not checkout.related(directory, card.commit, card.commit):
        followed = f"commit {card.commit[:12] or '(none yet)'}, which the cluster follows"
        warn(f"{unknown}: run this in a checkout that has {followed}")
        return None
    tried = {(entry.ref, entry.blob) for entry in observed.entries}
    branch = Branch.of(card.commit)
    try:
        work = begin(directory, site, branch, NOBODY, cluster=cluster, tried=tried)
    except DtpError as error:
        warn(f"{unknown}: {error.message}")
        return None
    planned = planner.plan(work.desired, observed, work.policy)
    return telling.not_started(work.desired, observed, planned)


def unstarted(ref: Ref, notes: Iterable[Note] | None, observed: Observed) -> Note:
    """Return why a job has no attempt; raises UsageError where there is no such job."""
    from dtp_action.core import planner

    planner.refuse_unreadable(ref, observed)
    for note in notes or ():
        if note.ref == str(ref):
            return note
    hint = "dtp status lists all jobs; a new script is there once its commit is dispatched"
    raise UsageError(f"no job {ref} in the ledger", hint=hint)


def watching(*, quiet: bool) -> AbstractContextManager[Callable[[Observed], None]]:
    """Return what shows the progress of a run that waits."""
    if quiet:
        return nullcontext(lambda _observed: None)
    from dtp_action.adapters import terminal

    return terminal.watching()


# --- ending --------------------------------------------------------------------------------------


def end(
    work: Work | None,
    hub: Hub,
    observed: Observed,
    form: str,
    *,
    done: Iterable[Action],
    rejected: Iterable[Finding] = (),
    told: Told | None = None,
    refs: Iterable[Ref] = (),
) -> None:
    """Print what was or would be done, and how the jobs stand; in a workflow, leave it there."""
    from dtp_action.core import report

    runner = workflow()
    fit = report.discreet if runner and runner.public else list
    actions, refused = fit(report.actions(done)), report.rejected(rejected)
    rows = fit(report.jobs(observed, refs=refs))
    unreadable = fit(report.unreadable(observed))
    if form == "json":
        print_json(actions=actions, rejected=refused, jobs=rows, unreadable=unreadable)
    else:
        print_run(actions, refused, rows)
    warnings = [*(row["reason"] for row in unreadable), *(told.warnings if told else ())]
    for warning in warnings:
        warn(warning)
    if not runner:
        return
    name = hub.name(work.origins.branch if work else None)
    leave(runner, name, actions, refused, report.lately(rows, observed.now), told, warnings)
    if work:
        leave_status(runner, name, work, observed)


def leave(
    runner: Runner,
    name: str,
    actions: Rows,
    refused: Rows,
    rows: Rows,
    told: Told | None,
    warnings: Iterable[str],
) -> None:
    """Leave a run's summary, annotations and outputs in the workflow."""
    from dtp_action.core import comment, report

    for row in refused:
        runner.annotate("error", row["message"], file=row["path"], line=row["line"])
    runner.summarise(comment.summary(actions, refused, rows, cluster=name, warnings=warnings))
    urls = "\n".join(told.urls) if told else ""
    outputs = report.counts(actions, refused, rows) | {"comment-urls": urls}
    for key, value in outputs.items():
        runner.output(key, value)
    runner.output("jobs", json.dumps(rows))


def leave_status(runner: Runner, name: str, work: Work, observed: Observed) -> None:
    """Leave the status document for previews, to be uploaded under its name."""
    from dtp_action.core import report, status_document

    artifact = status_document.artifact(name)
    path = runner.temp / "dtp" / artifact / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = status_document.dump(
        observed,
        work.settings,
        source=observed.identity.source if observed.identity else None,
        branch=work.origins.branch,
        max_new=work.policy.max_new,
    )
    for rows in ("jobs", "unreadable"):  # who may read artifacts is not known
        document[rows] = report.discreet(document[rows])
    path.write_text(json.dumps(document))
    runner.output("status-file", str(path))
    runner.output("status-artifact", artifact)


def print_run(actions: Rows, refused: Rows, rows: Rows) -> None:
    """Print tables for people."""
    from dtp_action.adapters import terminal
    from dtp_action.core import report

    out = terminal.console()
    if refused:
        out.print(terminal.findings_text(refused), soft_wrap=True)
    shown = [row for row in actions if row["action"] not in report.BOOKKEEPING]
    out.print(terminal.actions_table(shown) if shown else "nothing to do")
    states = report.states(actions, refused)
    if rows or states:
        out.print(report.verdict(rows, states))


def print_json(**document: Any) -> None:
    """Print one versioned document."""
    from dtp_action.core.report import VERSION

    click.echo(json.dumps({"version": VERSION, **document}))
