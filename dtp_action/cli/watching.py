"""The commands of who watches: where jobs stand, what they printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtp_action.cli.options import (
    Site,
    format_option,
    log_option,
    option,
    site_options,
    warn,
    workflow,
)
from dtp_action.cli.work import Rows, not_run, print_json, read_ref, unstarted
from dtp_action.errors import UsageError

if TYPE_CHECKING:
    from dtp_action.adapters.actions import Runner
    from dtp_action.core.model import Arrived, Entry, Kept, Note, Observed
    from dtp_action.dispatch import Cluster


@click.command()
@click.argument("refs", nargs=-1, envvar="DTP_JOB", metavar="[REF]...")
@option("--all", "every", is_flag=True, help="All attempts, not only each job's last.")
@site_options
@option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text",
        help="How to print; markdown is what a pull request's comment shows.")  # fmt: skip
@click.pass_obj
def status(directory: Path, /, refs: tuple[str, ...], every: bool, site: Site, form: str) -> None:
    """Show where every job stands."""
    from dtp_action import dispatch as loop
    from dtp_action.core import report, telling

    asked = [read_ref(ref) for ref in refs]
    cluster = site.open()
    observed = loop.with_progress(cluster, loop.look(cluster))
    notes = not_run(directory, site, cluster, observed)
    for ref in asked:
        if not observed.of(ref):
            unstarted(ref, notes, observed)
    told = [note for note in notes or () if not asked or note.ref in map(str, asked)]
    runner = workflow()
    if runner and runner.public:
        told = list(map(telling.discreet, told))
    fit = report.discreet if runner and runner.public else list
    rows = fit(report.jobs(observed, refs=asked, every=every))
    unreadable = fit(report.unreadable(observed))
    if form == "json":
        source = observed.identity.source if observed.identity else None
        stopped = None if notes is None else report.not_run(told)
        print_json(source=source, jobs=rows, not_run=stopped, unreadable=unreadable)
    elif form == "markdown":
        kept = {row["name"]: cluster.kept(row["name"]) for row in rows if row["finished"]}
        click.echo(markdown(observed, rows, told, kept))
    else:
        last = report.jobs(observed, refs=asked)
        print_status(rows, told, report.verdict(last, (note.state for note in told)))
    for row in unreadable:
        warn(row["reason"])
    if runner:
        runner.summarise(markdown(observed, report.lately(rows, observed.now), told, {}))
        runner.output("jobs", json.dumps(rows))


def markdown(observed: Observed, rows: Rows, notes: Iterable[Note], kept: dict[str, Kept]) -> str:
    """Return what a pull request's comment shows of these jobs."""
    from dtp_action.core import comment
    from dtp_action.core.ledger import stamp

    return comment.status(
        rows,
        notes,
        {name: one.log for name, one in kept.items()},
        arrived={name: one.arrived for name, one in kept.items() if one.arrived},
        cluster="",
        as_of=stamp(observed.now),
        next_look="",
        logs=True,
        repository_url="",
        run_url="",
    )


def print_status(rows: Rows, notes: Iterable[Note], verdict: str) -> None:
    """Print the table of jobs, and below it what does not run."""
    from dtp_action.adapters import terminal
    from dtp_action.core import report

    out, held = terminal.console(), report.not_run(notes)
    if rows or held:
        out.print(terminal.jobs_table(rows, held))
    out.print(verdict)


@click.command()
@click.argument("ref", envvar="DTP_JOB")
@option("--attempt", type=click.IntRange(1), help="Attempt number. Default: the last one.")
@option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@option("--follow", "-f", is_flag=True, help="Go on until the script ends.")
@log_option
@site_options
@click.pass_obj
def logs(
    directory: Path,
    /,
    ref: str,
    attempt: int | None,
    tail: int | None,
    follow: bool,
    log_in_comment: str,
    site: Site,
) -> None:
    """Print what a job printed."""
    from dtp_action.core import secrets
    from dtp_action.core.logs import OUR_LINES, last_lines, without_heartbeats

    runner = refuse_in_public("a log", log_in_comment)
    cluster = site.open()
    entry = one_attempt("log", ref, attempt, directory, site, cluster)
    if not entry:
        return
    name = entry.name
    live = [p for p in cluster.pods() if p.job_name == name and p.job and p.job.state != "waiting"]
    newest = max(live, key=lambda pod: pod.created, default=None)
    lines = None if tail is None else tail + OUR_LINES
    whole = cluster.log(newest, lines=lines, follow=follow) if newest else iter(())
    script_lines = without_heartbeats(whole) if tail is None or follow else last_lines(whole, tail)
    printed = False
    for line in script_lines:
        printed |= bool(line)
        shown = secrets.redact(line.decode(errors="replace")).encode() if runner else line
        sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()
    if not printed and tail != 0:
        print_kept(cluster.kept(name).log, entry, tail)


def refuse_in_public(what: str, log_in_comment: str) -> Runner | None:
    """Return the workflow's runner, if any; raise UsageError where it may not be shown."""
    runner = workflow()
    if runner and (log_in_comment == "no" or (log_in_comment == "auto" and runner.public)):
        raise UsageError(
            f"{what} is not shown in a public repository, or with log-in-comment: no",
            hint="to show it here anyway, set the input log-in-comment: yes",
        )
    return runner


def one_attempt(
    what: str,
    ref: str,
    attempt: int | None,
    directory: Path,
    site: Site,
    cluster: Cluster,
) -> Entry | None:
    """Return an attempt of a job, the last one where none is named. Raises UsageError.

    None where the job has not run: then why there is no `what` of it is said.
    """
    from dtp_action import dispatch as loop

    job, observed = read_ref(ref), loop.look(cluster)
    found = observed.of(job)
    if not found:
        note = unstarted(job, not_run(directory, site, cluster, observed), observed)
        why = f"it has not run; it is {note.state}: {note.reason}"
        click.echo(f"no {what} of {ref}: {why}", err=True)
        return None
    chosen = [entry for entry in found if attempt in (None, entry.attempt)]
    if not chosen:
        hint = f"its last attempt is {found[-1].attempt}"
        raise UsageError(f"{ref} has no attempt {attempt}", hint=hint)
    return chosen[-1]


def print_kept(kept: str, entry: Entry, tail: int | None) -> None:
    """Print the end of a log that the ledger kept."""
    if not kept:
        note = "it has not started, or its log was gone before it could be kept"
        click.echo(f"no log of attempt {entry.attempt} of {entry.ref}: {note}", err=True)
        return
    lines = kept.split("\n")
    click.echo("\n".join(lines[-tail:] if tail else lines))
    click.echo(
        f"(the kept end; the whole log lies in {entry.ref.directory} on the claim)", err=True
    )


@click.command()
@click.argument("ref", envvar="DTP_JOB")
@option("--attempt", type=click.IntRange(1), help="Attempt number. Default: the last one.")
@log_option
@site_options
@format_option
@click.pass_obj
def files(
    directory: Path, /, ref: str, attempt: int | None, log_in_comment: str, site: Site, form: str
) -> None:
    """Show what arrived in a job's directory."""
    from dtp_action.core import report

    refuse_in_public("a list of files", log_in_comment)
    cluster = site.open()
    entry = one_attempt("list of what arrived", ref, attempt, directory, site, cluster)
    if not entry:
        return
    found = cluster.kept(entry.name).arrived if entry.outcome else None
    if form == "json":
        print_json(**report.files(entry, found))
    else:
        print_files(entry, found)


def print_files(entry: Entry, found: Arrived | None) -> None:
    """Print the list, or why there is none."""
    from dtp_action.core import report

    whose = f"attempt {entry.attempt} of {entry.ref}"
    if not entry.outcome:
        click.echo(f"{whose} has not ended: the list is made at the end", err=True)
    elif found is None:
        note = "it did not start, or the list could not be made or kept"
        click.echo(f"no list of what arrived in {whose}: {note}", err=True)
    elif lines := report.listing(found, len(found.files)):
        click.echo("\n".join(lines))
    else:
        click.echo(f"no file is new or changed in {whose}", err=True)
