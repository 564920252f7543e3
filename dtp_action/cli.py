"""The commands: the only error boundary and the only exit.

Reads options, calls core and dispatch, prints. Adapters and rich are imported inside the command
that needs them, so that `dtp --help` and `dtp check` pay for no SDK.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dtp_action.errors import DtpError, Exit, UsageError

if TYPE_CHECKING:
    from dtp_action.core.catalog import Catalog
    from dtp_action.core.model import Action, Desired, Entry, Finding, Observed, Ref
    from dtp_action.core.planner import Policy
    from dtp_action.dispatch import Cluster

F = TypeVar("F", bound=Callable[..., Any])
Rows = list[dict[str, Any]]

LOCAL = Path("~/.local/state/dtp-requests").expanduser()

CHAIRS = {
    "Researchers": ("check", "run"),
    "Watching": ("status", "logs"),
    "Admins": ("plan", "dispatch", "retry", "cancel", "render", "protocols"),
}


class Commands(click.Group):
    """The group of commands, listed in its help by the chair one sits in."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for chair, names in CHAIRS.items():
            rows = [(n, self.commands[n].get_short_help_str(limit=70)) for n in names]
            with formatter.section(chair):
                formatter.write_dl(rows)


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Return an option that is also `DTP_…` in the environment; an empty variable is unset."""
    long = next(name for name in names if name.startswith("--"))
    variable = "DTP_" + long[2:].replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


def options(name: str, form: type, *decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator for options that a command takes as one value, under one name."""
    keys = {field.name for field in fields(form)}

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **values: Any) -> Any:
            taken = {key: values.pop(key) for key in keys}
            return function(*args, **{name: form(**taken)}, **values)

        for decorator in reversed(decorators):
            call = decorator(call)
        return call  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True, kw_only=True)
class Site:
    """Which cluster is meant."""

    cluster: str | None
    kubeconfig: str | None
    context: str | None
    namespace: str | None

    @property
    def is_local(self) -> bool:
        """True for the embedded cluster. Raises UsageError for a kind that there is not."""
        kind = (self.cluster or "").partition(":")[0]
        if kind in ("", "local"):
            return bool(kind)
        hint = "write local or local:DIR; a Kubernetes is named by --kubeconfig and --context"
        raise UsageError(f"no such cluster: {self.cluster}", hint=hint)

    def open(self) -> Cluster:
        """Return the cluster, reached on its first call."""
        if self.is_local:
            from dtp_action.adapters import local

            directory = (self.cluster or "").partition(":")[2]
            return local.connect(Path(directory) if directory else LOCAL)
        from dtp_action.adapters import kube

        return kube.connect(
            kubeconfig=self.kubeconfig, context=self.context, namespace=self.namespace
        )


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What counts as asked for, and whose ledger is meant."""

    commit: str
    catalog: str | None
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What bounds a run."""

    max_new: int = 25
    first_run: bool = False
    adopt: bool = False


catalog_option = option(
    "--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml."
)
format_option = option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
request_option = option(
    "--request", default="", metavar="KEY", help="Given again, the same key does nothing."
)
site_options = options(
    "site",
    Site,
    option("--cluster", metavar="WHERE", help="`local[:DIR]`: the embedded one; else kubectl's."),
    option("--kubeconfig", metavar="FILE", help="How to reach the cluster; as kubectl has it."),
    option("--context", metavar="NAME", help="The kubeconfig's context."),
    option("--namespace", "-n", metavar="NAME", help="The namespace of the jobs."),
)
branch_options = options(
    "branch",
    Branch,
    option("--commit", default="HEAD", show_default=True, help="The commit whose jobs count."),
    catalog_option,
    option("--source", metavar="TEXT", help="The branch that the ledger belongs to."),
)
bounds_options = options(
    "bounds",
    Bounds,
    option("--max-new", default=Bounds.max_new, show_default=True, type=click.IntRange(0),
           help="Hold all new jobs when more than this many would start in one run."),
    option("--first-run", is_flag=True, help="Start them, however many."),
    option("--adopt", is_flag=True, help="Record all new jobs as done, without running them."),
)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-C", "directory", type=click.Path(path_type=Path), default=".", metavar="DIR",
              help="The git checkout to work on.")  # fmt: skip
@click.version_option(package_name="dtp-requests", prog_name="dtp")
@click.pass_context
def dtp(ctx: click.Context, directory: Path) -> None:
    """Data transfers by pull request: merged scripts run in Pods on a shared claim, once each."""
    ctx.obj = directory


# --- researchers ---------------------------------------------------------------------------------


@dtp.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@catalog_option
@format_option
@click.pass_obj
def check(directory: Path, paths: tuple[str, ...], catalog: str | None, form: str) -> Exit:
    """Check the scripts of the working tree."""
    from dtp_action.adapters import checkout, shells
    from dtp_action.core import report, scripts
    from dtp_action.core.model import Severity

    files = checkout.working_tree(directory, paths)
    rows = working_catalog(directory, catalog)
    desired = scripts.discover(files, commit="", catalog=rows, settings=None)
    desired = scripts.reject(desired, shells.syntax_findings(desired))
    found = scripts.findings(desired)
    if form == "json":
        print_json(findings=report.findings(found))
    else:
        print_check(report.findings(found), len(desired.wanted))
    bad = any(finding.severity is Severity.ERROR for finding in found)
    return Exit.BAD_OUTCOME if bad else Exit.DONE


def print_check(rows: Rows, count: int) -> None:
    """Print findings as compilers do, and how many there are."""
    from dtp_action.adapters import terminal

    out = terminal.console()
    if rows:
        out.print(terminal.findings_text(rows), soft_wrap=True)
    errors = sum(row["severity"] == "error" for row in rows)
    counted = ((count, "script"), (errors, "error"), (len(rows) - errors, "warning"))
    out.print(", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counted))


@dtp.command()
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option("--host", is_flag=True, help="Run it in this machine's shell, with this machine's tools.")
@option("--workspace", type=click.Path(path_type=Path), metavar="DIR",
        help="Stands in for the claim; a new folder where it is not given.")  # fmt: skip
def run(script: Path, host: bool, workspace: Path | None) -> int:
    """Run one script here, as a job would run it."""
    from dtp_action.adapters import host as machine

    if not host:
        raise UsageError(
            "running in the protocol's image is not there yet",
            hint=f"to run the script with this machine's own tools: dtp run --host {script}",
        )
    return machine.run(script, workspace)


# --- watching ------------------------------------------------------------------------------------


@dtp.command()
@click.argument("refs", nargs=-1, metavar="[REF]...")
@option("--all", "every", is_flag=True, help="All attempts, not only each job's last.")
@site_options
@option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text",
        help="How to print; markdown is what a pull request's comment shows.")  # fmt: skip
def status(refs: tuple[str, ...], every: bool, site: Site, form: str) -> None:
    """Show where every job stands."""
    from dtp_action import dispatch as loop
    from dtp_action.core import report

    asked = [read_ref(ref) for ref in refs]
    cluster = site.open()
    observed = loop.with_progress(cluster, loop.look(cluster))
    for ref in asked:
        attempts(ref, observed)
    rows = report.jobs(observed, refs=asked, every=every)
    if form == "json":
        source = observed.identity.source if observed.identity else None
        print_json(source=source, jobs=rows)
    elif form == "markdown":
        click.echo(comment(cluster, observed, rows))
    else:
        print_status(rows, report.verdict(report.jobs(observed, refs=asked)))


def comment(cluster: Cluster, observed: Observed, rows: Rows) -> str:
    """Return what a pull request's comment shows of these jobs."""
    from dtp_action.core import comment as comments
    from dtp_action.core.ledger import stamp

    ended = [row["name"] for row in rows if row["finished"]]
    tails = {name: cluster.kept_tail(name) or "" for name in ended}
    return comments.render(rows, tails, as_of=stamp(observed.now))


def print_status(rows: Rows, verdict: str) -> None:
    """Print the table of jobs."""
    from dtp_action.adapters import terminal

    out = terminal.console()
    if rows:
        out.print(terminal.jobs_table(rows))
    out.print(verdict)


@dtp.command()
@click.argument("ref")
@option("--attempt", type=click.IntRange(1), help="Which attempt; else the last.")
@option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@option("--follow", "-f", is_flag=True, help="Go on until the script ends.")
@site_options
def logs(ref: str, attempt: int | None, tail: int | None, follow: bool, site: Site) -> None:
    """Print what a job printed."""
    from dtp_action import dispatch as loop
    from dtp_action.core.logs import without_heartbeats

    cluster = site.open()
    found = attempts(read_ref(ref), loop.look(cluster))
    chosen = [entry for entry in found if attempt in (None, entry.attempt)]
    if not chosen:
        hint = f"its last attempt is {found[-1].attempt}"
        raise UsageError(f"{ref} has no attempt {attempt}", hint=hint)
    name = chosen[-1].name
    live = [p for p in cluster.pods() if p.job_name == name and p.job and p.job.state != "waiting"]
    if not live:
        print_kept(cluster.kept_tail(name), chosen[-1], tail)
        return
    newest = max(live, key=lambda pod: pod.created)
    for line in without_heartbeats(cluster.log(newest, lines=tail, follow=follow)):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def print_kept(kept: str | None, entry: Entry, tail: int | None) -> None:
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


# --- admins --------------------------------------------------------------------------------------


@dtp.command()
@site_options
@branch_options
@bounds_options
@format_option
@click.pass_obj
def plan(directory: Path, /, site: Site, branch: Branch, bounds: Bounds, form: str) -> None:
    """Show what dispatch would do, and why."""
    show_plan(directory, site, branch, bounds, form)


def show_plan(directory: Path, site: Site, branch: Branch, bounds: Bounds, form: str) -> None:
    """Plan and print."""
    from dtp_action import dispatch as loop
    from dtp_action.core import planner

    cluster = site.open()
    desired, policy = asked_for(cluster, directory, branch, bounds)
    observed = loop.look(cluster)
    if observed.identity:
        loop.identify(cluster, observed, source_of(branch, site, observed))
    planned = planner.plan(desired, observed, policy)
    print_run(planned.actions, planned.rejected, observed, form)


@dtp.command()
@option("--wait", default=0, type=click.IntRange(0), metavar="SECONDS",
        help="Wait up to this long for the ends of what is open.")  # fmt: skip
@option("--dry-run", is_flag=True, help="Only show what would be done: dtp plan.")
@option("--rename-source", is_flag=True, help="The branch or repository has a new name.")
@site_options
@branch_options
@bounds_options
@format_option
@click.pass_obj
def dispatch(
    directory: Path,
    /,
    wait: int,
    dry_run: bool,
    rename_source: bool,
    site: Site,
    branch: Branch,
    bounds: Bounds,
    form: str,
) -> Exit:
    """Start what the branch asks for, settle what has ended."""
    from dtp_action import dispatch as loop

    if dry_run:
        show_plan(directory, site, branch, bounds, form)
        return Exit.DONE
    cluster = site.open()
    desired, policy = asked_for(cluster, directory, branch, bounds)
    with watching(quiet=form == "json") as watch:
        result = loop.run(
            cluster,
            desired,
            policy,
            patience=loop.Patience(
                seconds=wait, monotonic=time.monotonic, sleep=time.sleep, watch=watch
            ),
            source=functools.partial(source_of, branch, site),
            rename=rename_source,
        )
    print_run(result.actions, result.rejected, result.observed, form)
    return Exit.BAD_OUTCOME if wait and result.bad else Exit.DONE


@dtp.command()
@click.argument("ref")
@request_option
@site_options
@branch_options
@format_option
@click.pass_obj
def retry(
    directory: Path, /, ref: str, request: str, site: Site, branch: Branch, form: str
) -> None:
    """Run a job again: another attempt, with the script as it is on the branch."""
    from dtp_action import dispatch as loop
    from dtp_action.core import planner

    cluster = site.open()
    desired, policy = asked_for(cluster, directory, branch, Bounds())
    observed = loop.look(cluster)
    loop.identify(cluster, observed, source_of(branch, site, observed))
    action = planner.retry(read_ref(ref), desired, observed, policy, request)
    carry_out(cluster, action, observed, read_ref(ref), form)


@dtp.command()
@click.argument("ref")
@request_option
@site_options
@format_option
def cancel(ref: str, request: str, site: Site, form: str) -> None:
    """End the active attempt of a job."""
    from dtp_action import dispatch as loop
    from dtp_action import settings
    from dtp_action.core import planner

    cluster = site.open()
    observed = loop.look(cluster)
    action = planner.cancel(read_ref(ref), observed, by=settings.actor(os.environ), request=request)
    carry_out(cluster, action, observed, read_ref(ref), form)


def carry_out(
    cluster: Cluster, action: Action | None, observed: Observed, ref: Ref, form: str
) -> None:
    """Do what was asked for by hand, if it was not done before; print how the job stands then."""
    from dtp_action import dispatch as loop

    done = loop.apply(cluster, action, observed) if action else []
    print_run(done, (), loop.look(cluster), form, refs=[ref])


@dtp.command()
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


@dtp.command()
@catalog_option
@click.pass_obj
def protocols(directory: Path, catalog: str | None) -> None:
    """List the protocols: image, defaults, exit codes worth retrying."""
    from dtp_action.adapters import terminal

    rows = working_catalog(directory, catalog)
    terminal.console().print(terminal.protocols_table(rows))


# --- what commands share -------------------------------------------------------------------------


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


def asked_for(
    cluster: Cluster, directory: Path, branch: Branch, bounds: Bounds
) -> tuple[Desired, Policy]:
    """Return what a commit asks for, and the policy that bounds what is done about it."""
    from dtp_action.adapters import checkout, shells
    from dtp_action.core import catalog, planner, scripts
    from dtp_action.core.model import Origin

    settings = cluster.settings()
    commit, files = checkout.committed(directory, branch.commit)
    rows = extended(
        branch.catalog, lambda: checkout.read_file(directory, commit, catalog.SITE_FILE)
    )
    desired = scripts.discover(files, commit=commit, catalog=rows, settings=settings)
    policy = planner.Policy(
        resolve=lambda script: catalog.resolve(script, catalog=rows, settings=settings),
        origin=lambda _ref: Origin(commit=commit),
        stuck_limit=settings.stuck_limit,
        queue_allowance=settings.queue_allowance,
        retention=settings.retention,
        run=uuid.uuid4().hex[:12],
        max_new=bounds.max_new,
        first_run=bounds.first_run,
        adopt=bounds.adopt,
    )
    return scripts.reject(desired, shells.syntax_findings(desired)), policy


def source_of(branch: Branch, site: Site, observed: Observed) -> str:
    """Return the branch that the ledger belongs to; raises UsageError where nothing says it."""
    from dtp_action import settings

    known = observed.identity.source if observed.identity else None
    return settings.source(branch.source, os.environ, known or ("local" if site.is_local else None))


def read_ref(text: str) -> Ref:
    """Read a job's ref as people type it; raises UsageError."""
    from dtp_action.core.model import Ref

    try:
        return Ref.parse(text)
    except ValueError as error:
        raise UsageError(str(error), hint="for example dtp-aws/sequence-index") from error


def attempts(ref: Ref, observed: Observed) -> tuple[Entry, ...]:
    """Return a job's attempts, oldest first; raises UsageError where there is none."""
    found = observed.of(ref)
    if not found:
        raise UsageError(f"no job {ref} in the ledger", hint="dtp status lists all jobs")
    return found


def watching(*, quiet: bool) -> AbstractContextManager[Callable[[Observed], None]]:
    """Return what shows the progress of a run that waits."""
    if quiet:
        return nullcontext(lambda _observed: None)
    from dtp_action.adapters import terminal

    return terminal.watching()


def print_run(
    done: Iterable[Action],
    rejected: Iterable[Finding],
    observed: Observed,
    form: str,
    refs: Iterable[Ref] = (),
) -> None:
    """Print what was or would be done, and how the jobs stand."""
    from dtp_action.core import report

    actions, refused = report.actions(done), report.rejected(rejected)
    rows = report.jobs(observed, refs=refs)
    if form == "json":
        print_json(actions=actions, rejected=refused, jobs=rows)
        return
    from dtp_action.adapters import terminal

    out = terminal.console()
    if refused:
        out.print(terminal.findings_text(refused), soft_wrap=True)
    told = [row for row in actions if row["action"] not in report.BOOKKEEPING]
    out.print(terminal.actions_table(told) if told else "nothing to do")
    if rows:
        out.print(report.verdict(rows))


def print_json(**document: Any) -> None:
    """Print one versioned document."""
    from dtp_action.core.report import VERSION

    click.echo(json.dumps({"version": VERSION, **document}))


# --- the boundary --------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line and leave with a documented exit code."""
    gc.set_threshold(100_000)  # a large ledger is many small objects, and none of them is garbage
    sys.exit(_run())


def _run() -> int:
    try:
        code = dtp.main(standalone_mode=False)
    except DtpError as error:
        _tell(error.message, error.hint)
        return error.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what was begun is taken up by the next run", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.DONE
    except Exception:
        import traceback

        traceback.print_exc()
        _tell("this is a bug of dtp", "report it with the lines above; running again is safe")
        return Exit.BUG
    return code if isinstance(code, int) else Exit.DONE


def _tell(message: str, hint: str) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"  next: {hint}", err=True)
