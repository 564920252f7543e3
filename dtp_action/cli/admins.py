"""The commands of admins and of workflows: plan, dispatch, answer, and what is asked by hand."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtp_action.cli.options import (
    Bounds,
    Branch,
    Hub,
    Site,
    bounds_options,
    branch_option,
    branch_options,
    catalog_option,
    format_option,
    hub_options,
    option,
    request_option,
    site_options,
    warn,
    workflow,
)
from dtp_action.cli.work import (
    begin,
    end,
    not_run,
    read,
    read_ref,
    unstarted,
    warn_of_uncommitted,
    watching,
    working_catalog,
)
from dtp_action.errors import Exit, UsageError

if TYPE_CHECKING:
    from dtp_action.adapters.actions import Runner
    from dtp_action.core.model import Action, Observed
    from dtp_action.tell import Audience, Work

NOTHING_ASKED = "nothing was asked for here"
FIRST_TURN = 15  # seconds: what ends by then is told once


@click.command()
@site_options
@branch_options
@bounds_options
@hub_options
@format_option
@click.pass_obj
def plan(
    directory: Path, /, site: Site, branch: Branch, bounds: Bounds, hub: Hub, form: str
) -> None:
    """Show what dispatch would do, and why."""
    foretell(directory, site, branch, bounds, hub, form)


def foretell(
    directory: Path, site: Site, branch: Branch, bounds: Bounds, hub: Hub, form: str
) -> None:
    """Print what a run would do."""
    from dtp_action import dispatch as loop
    from dtp_action import tell
    from dtp_action.core import planner

    work = begin(directory, site, branch, hub, bounds)
    observed = loop.look(work.cluster)
    if observed.identity:
        commit = work.desired.commit
        source = branch.ledger(site, directory, commit, observed)
        card = loop.identify(work.cluster, observed, source, commit)
        if planner.may_rule(card, commit, work.line):  # as dispatch would, which writes it
            observed = replace(observed, identity=replace(card, commit=commit))
    planned, observed = loop.plan(work.cluster, work.desired, observed, work.policy)
    told = tell.Told(warnings=tell.who_rules(work, observed))
    if branch.is_head:
        warn_of_uncommitted(directory)
    end(work, hub, observed, form, done=planned.actions, rejected=planned.rejected, told=told)


@click.command()
@option("--wait", default=0, type=click.IntRange(0), metavar="SECONDS",
        help="Seconds to wait for open jobs to end; in a workflow, for those that it starts.",
)  # fmt: skip
@option("--dry-run", is_flag=True, help="Only show what would be done: dtp plan.")
@option("--rename-source", is_flag=True, help="The branch or repository has a new name.")
@click.option(
    "--rewritten",
    is_flag=True,
    help="The branch was force-pushed: follow this commit, without asking GitHub.",
)
@site_options
@branch_options
@bounds_options
@hub_options
@format_option
@click.pass_obj
def dispatch(
    directory: Path,
    /,
    wait: int,
    dry_run: bool,
    rename_source: bool,
    rewritten: bool,
    site: Site,
    branch: Branch,
    bounds: Bounds,
    hub: Hub,
    form: str,
) -> Exit:
    """Start new jobs, record results, and update pull requests."""
    from dtp_action import dispatch as loop
    from dtp_action import tell
    from dtp_action.core import report

    if dry_run:
        foretell(directory, site, branch, bounds, hub, form)
        return Exit.DONE
    if rename_source and not branch.told:
        raise UsageError("nothing says the ledger's new name", hint="give it with --source")
    work = begin(directory, site, branch, hub, bounds)
    source = functools.partial(branch.ledger, site, directory, work.desired.commit)
    done: list[Action] = []
    bad = False
    # A workflow's minutes are paid for: it waits for what it starts, not for last week's transfer.
    follow = frozenset[str]() if workflow() else None
    with watching(quiet=form == "json") as watch:
        for seconds in turns(wait, work.audience):
            result = loop.run(
                work.cluster,
                work.desired,
                work.policy,
                line=work.line,
                rewritten=rewritten,
                patience=loop.Patience(
                    seconds=seconds,
                    of=follow,
                    monotonic=time.monotonic,
                    sleep=time.sleep,
                    watch=watch,
                ),
                source=source,
                rename=rename_source,
            )
            done += result.actions
            bad = bad or bool(result.bad)
            seen = tell.attributed(work, result.observed)
            told = tell.everybody(work, seen)
            follow, rewritten = result.open, False  # it is said once, and a newer may come
            if not follow:
                break
    if branch.is_head:
        warn_of_uncommitted(directory)
    end(work, hub, seen, form, done=done, rejected=result.rejected, told=told)
    stopped = report.unreadable(seen)
    return Exit.BAD_OUTCOME if stopped or (wait and bad) else Exit.DONE


def enter(work: Work, observed: Observed, branch: Branch, site: Site, directory: Path) -> Observed:
    """Return the look with the ledger's card, which names this commit if it may rule."""
    from dtp_action import dispatch as loop

    commit = work.desired.commit
    source = branch.ledger(site, directory, commit, observed)
    return loop.enter(work.cluster, observed, commit, line=work.line, source=source)


def turns(wait: int, audience: Audience | None) -> tuple[int, ...]:
    """Return how long each turn of a run waits: pull requests hear of a long one early, too."""
    first = min(wait, FIRST_TURN)
    return (first, wait - first) if audience and wait > first else (wait,)


@click.command()
@click.argument("ref", envvar="DTP_JOB")
@request_option
@site_options
@branch_options
@hub_options
@format_option
@click.pass_obj
def retry(
    directory: Path, /, ref: str, request: str, site: Site, branch: Branch, hub: Hub, form: str
) -> None:
    """Run a job again, with its script as it is on the branch."""
    from dtp_action import dispatch as loop
    from dtp_action import tell
    from dtp_action.core import planner

    job = read_ref(ref)
    work = begin(directory, site, branch, hub)
    observed = enter(work, loop.look(work.cluster), branch, site, directory)
    observed = loop.with_pods(work.cluster, observed)
    action = planner.retry(job, work.desired, observed, work.policy, request)
    done = loop.apply(work.cluster, action, observed) if action else []
    observed = tell.attributed(work, loop.look(work.cluster))
    told = tell.everybody(work, observed)
    if branch.is_head:
        warn_of_uncommitted(directory, [job.path])
    end(work, hub, observed, form, done=done, told=told, refs=[job])


@click.command()
@click.argument("ref", envvar="DTP_JOB")
@request_option
@site_options
@branch_options
@hub_options
@format_option
@click.pass_obj
def cancel(
    directory: Path, /, ref: str, request: str, site: Site, branch: Branch, hub: Hub, form: str
) -> None:
    """End the active attempt of a job."""
    from dtp_action import dispatch as loop
    from dtp_action import settings, tell
    from dtp_action.core import planner

    job = read_ref(ref)
    work = begin(directory, site, branch, hub) if hub.github_token else None
    cluster = work.cluster if work else site.open()
    observed = loop.look(cluster)
    if observed.identity and (work or branch.told):  # else the ledger alone says what there is
        commit = work.desired.commit if work else ""
        source = branch.ledger(site, directory, commit, observed)
        loop.identify(cluster, observed, source, commit)
    if not observed.of(job):
        note = unstarted(job, not_run(directory, site, cluster, observed), observed)
        planner.refuse_to_cancel(note)
    action = planner.cancel(job, observed, by=settings.actor(os.environ), request=request)
    done = loop.apply(cluster, action, observed) if action else []
    observed = loop.look(cluster)
    if work:
        observed = tell.attributed(work, observed)
    told = tell.everybody(work, observed) if work else None
    end(work, hub, observed, form, done=done, told=told, refs=[job])


@click.command()
@branch_option
@hub_options
def admit(branch: str | None, hub: Hub) -> None:
    """Decide whether a comment may be carried out (in a workflow)."""
    from dtp_action import tell

    runner, audience, name, node = asked_in_comment("admit", branch, hub)
    found = tell.admit(audience, node, branch=name) if node else tell.Told()
    admitted = isinstance(found, tell.Admitted)
    urls = "" if isinstance(found, tell.Admitted) else "\n".join(found.urls)
    click.echo("admitted" if admitted else urls or NOTHING_ASKED)
    runner.output("admitted", "true" if admitted else "false")
    runner.output("comment-urls", urls)


def asked_in_comment(
    command: str, branch: str | None, hub: Hub
) -> tuple[Runner, Audience, str, str | None]:
    """Return the workflow's runner, who is told, the branch, and the comment if there is one."""
    from dtp_action import settings
    from dtp_action.adapters import actions

    name = branch or settings.github_branch(os.environ)
    runner, audience = workflow(), hub.audience(name, hub.pulls())
    if not runner or not audience or not name:
        raise UsageError(
            f"{command} needs the event of a workflow, and a token",
            hint="it is for workflows on issue_comment; by hand: dtp status, logs, retry, cancel",
        )
    return runner, audience, name, actions.comment_node(runner.payload)


@click.command()
@site_options
@branch_options
@hub_options
@click.pass_obj
def answer(directory: Path, /, site: Site, branch: Branch, hub: Hub) -> None:
    """Do what a comment on a pull request asks for (in a workflow)."""
    from dtp_action import dispatch as loop
    from dtp_action import tell

    runner, audience, name, node = asked_in_comment("answer", branch.name, hub)

    def start() -> tuple[Work, Observed]:
        work = begin(directory, site, branch, hub)
        observed = loop.look(work.cluster)
        if observed.identity:
            observed = enter(work, observed, branch, site, directory)
        return work, observed

    told = tell.answer(audience, node, branch=name, begin=start) if node else tell.Told()
    click.echo("\n".join(told.urls) or NOTHING_ASKED)
    for warning in told.warnings:
        warn(warning)
    runner.output("comment-urls", "\n".join(told.urls))


@click.command()
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@catalog_option
@option("--cluster-settings", metavar="FILE", help="The admin's settings.yaml; else an example.")
@click.pass_obj
def render(
    directory: Path, script: Path, catalog: str | None, cluster_settings: str | None
) -> None:
    """Print the ledger entry and the Job of a script as YAML."""
    from dtp_action.adapters import checkout
    from dtp_action.core import rendering, scripts

    rows = working_catalog(directory, catalog)
    settings = rendering.settings(read(cluster_settings) if cluster_settings else None)
    files = checkout.working_tree(directory, (str(script),))
    desired = scripts.discover(files, commit="", catalog=rows, settings=settings)
    click.echo(rendering.render(desired, rows, settings), nl=False)


@click.command()
@catalog_option
@click.pass_obj
def protocols(directory: Path, catalog: str | None) -> None:
    """List the protocols: image, defaults, exit codes worth retrying."""
    from dtp_action.adapters import terminal

    rows = working_catalog(directory, catalog)
    terminal.console().print(terminal.protocols_table(rows))
