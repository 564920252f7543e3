"""The commands: the only error boundary and the only exit.

Reads options, calls core and dispatch, prints. Adapters and rich are imported inside the command
that needs them, so that `dtp --help` and `dtp check` pay for no SDK.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dtp_action.errors import DtpError, Exit, UsageError

if TYPE_CHECKING:
    from dtp_action.core.catalog import Catalog
    from dtp_action.core.cluster_settings import ClusterSettings
    from dtp_action.core.model import Desired, Finding, Observed, Ref
    from dtp_action.core.planner import Policy
    from dtp_action.dispatch import Cluster

F = TypeVar("F", bound=Callable[..., Any])

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


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies several, so that their options are listed in order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


cluster_options = together(
    option(
        "--cluster", metavar="WHERE", help="`local[:DIR]`: the embedded cluster; else kubectl's."
    ),
    option("--kubeconfig", metavar="FILE", help="How to reach the cluster; as kubectl has it."),
    option("--context", metavar="NAME", help="The kubeconfig's context."),
    option("--namespace", "-n", metavar="NAME", help="The namespace of the jobs."),
)
branch_options = together(
    option("--commit", default="HEAD", show_default=True, help="The commit whose jobs count."),
    option("--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml."),
    option("--source", metavar="TEXT", help="The branch that the ledger belongs to."),
)
guard_options = together(
    option("--max-new", default=25, show_default=True, type=click.IntRange(0),
           help="Hold all new jobs when more than this many would start in one run."),
    option("--first-run", is_flag=True, help="Start them, however many."),
    option("--adopt", is_flag=True, help="Record all new jobs as done, without running them."),
)  # fmt: skip
format_option = option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which cluster is meant."""

    cluster: str | None
    kubeconfig: str | None
    context: str | None
    namespace: str | None

    def open(self) -> Cluster:
        """Return the cluster, reached on its first call."""
        kind, _, directory = (self.cluster or "").partition(":")
        if kind == "local":
            from dtp_action.adapters.local import LocalCluster

            return LocalCluster(Path(directory) if directory else LOCAL)
        if kind:
            hint = "write local or local:DIR; a Kubernetes is named by --kubeconfig and --context"
            raise UsageError(f"no such cluster: {self.cluster}", hint=hint)
        from dtp_action.adapters import kube

        return kube.connect(
            kubeconfig=self.kubeconfig, context=self.context, namespace=self.namespace
        )


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
@option("--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml.")
@format_option
@click.pass_obj
def check(directory: Path, paths: tuple[str, ...], catalog: str | None, form: str) -> Exit:
    """Check the scripts of the working tree."""
    from dtp_action.adapters import checkout, shells
    from dtp_action.core import report, scripts
    from dtp_action.core.model import Severity

    rows = _catalog(catalog, partial(_site_catalog, directory))
    files = checkout.working_tree(directory, paths)
    desired = scripts.discover(files, commit="", catalog=rows, settings=None)
    desired = scripts.reject(desired, shells.syntax_findings(desired))
    found = sorted(_findings(desired))
    if form == "json":
        _print_json({"findings": report.findings(found)})
    else:
        _print_check(report.findings(found), len(desired.wanted))
    bad = any(finding.severity is Severity.ERROR for finding in found)
    return Exit.BAD_OUTCOME if bad else Exit.DONE


def _findings(desired: Desired) -> list[Finding]:
    return [*desired.findings, *(f for one in desired.wanted.values() for f in one.findings)]


def _print_check(rows: list[dict[str, Any]], count: int) -> None:
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
            hint="to run the script with this machine's own tools: dtp run --host " + str(script),
        )
    return machine.run(script, workspace)


# --- watching ------------------------------------------------------------------------------------


@dtp.command()
@click.argument("refs", nargs=-1, metavar="[REF]...")
@option("--all", "every", is_flag=True, help="All attempts, not only each job's last.")
@cluster_options
@option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text",
        help="How to print; markdown is what a pull request's comment shows.")  # fmt: skip
def status(refs: tuple[str, ...], every: bool, form: str, **target: str | None) -> None:
    """Show where every job stands."""
    from dtp_action import dispatch as loop
    from dtp_action.core import report

    asked = [_ref(ref) for ref in refs]
    cluster = Connection(**target).open()
    observed = loop.with_progress(cluster, loop.look(cluster))
    _must_know(asked, observed)
    rows = report.jobs(observed, refs=asked, every=every)
    if form == "json":
        identity = observed.identity
        _print_json({"source": identity.source if identity else None, "jobs": rows})
        return
    if form == "markdown":
        click.echo(_comment(cluster, observed, rows))
        return
    from dtp_action.adapters import terminal

    out = terminal.console()
    if rows:
        out.print(terminal.jobs_table(rows))
    out.print(report.verdict(report.jobs(observed, refs=asked)))


def _comment(cluster: Cluster, observed: Observed, rows: list[dict[str, Any]]) -> str:
    from dtp_action.core import comment
    from dtp_action.core.ledger import stamp

    ended = [row["name"] for row in rows if row["finished"]]
    tails = {name: cluster.kept_tail(name) or "" for name in ended}
    return comment.render(rows, tails, as_of=stamp(observed.now))


@dtp.command()
@click.argument("ref")
@option("--attempt", type=click.IntRange(1), help="Which attempt; else the last.")
@option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@option("--follow", "-f", is_flag=True, help="Go on until the script ends.")
@cluster_options
def logs(
    ref: str, attempt: int | None, tail: int | None, follow: bool, **target: str | None
) -> None:
    """Print what a job printed."""
    from dtp_action import dispatch as loop
    from dtp_action.core.logs import without_heartbeats

    cluster = Connection(**target).open()
    observed = loop.look(cluster)
    entry = _entry(_ref(ref), attempt, observed)
    pods = observed.pods.get(entry.name) or tuple(
        pod for pod in cluster.pods() if pod.job_name == entry.name
    )
    live = [pod for pod in pods if pod.job and pod.job.state != "waiting"]
    if live:
        _pour(without_heartbeats(cluster.log(live[-1], lines=tail, follow=follow)))
        return
    _print_kept(cluster.kept_tail(entry.name), str(entry.ref), entry.attempt, tail)


def _pour(lines: Iterable[bytes]) -> None:
    out = sys.stdout.buffer
    for line in lines:
        out.write(line)
        out.flush()


def _print_kept(kept: str | None, ref: str, attempt: int, tail: int | None) -> None:
    if not kept:
        note = "it has not started, or its log was gone before it could be kept"
        click.echo(f"no log of attempt {attempt} of {ref}: {note}; see dtp status", err=True)
        return
    lines = kept.split("\n")
    click.echo("\n".join(lines[-tail:] if tail else lines))
    click.echo(f"(the kept end; the whole log lies at dtp-jobs/{ref} on the claim)", err=True)


# --- admins --------------------------------------------------------------------------------------


@dtp.command()
@branch_options
@guard_options
@cluster_options
@format_option
@click.pass_obj
def plan(
    directory: Path,
    /,
    commit: str,
    catalog: str | None,
    source: str | None,
    max_new: int,
    first_run: bool,
    adopt: bool,
    form: str,
    **target: str | None,
) -> None:
    """Show what dispatch would do, and why."""
    from dtp_action import dispatch as loop
    from dtp_action.core import planner

    cluster = Connection(**target).open()
    settings = cluster.settings()
    desired, rows = _desired(directory, commit, catalog, settings)
    observed = loop.look(cluster)
    if observed.identity:
        loop.identify(cluster, observed, _source(source, target["cluster"], observed))
    policy = _policy(rows, settings, desired, max_new=max_new, first_run=first_run, adopt=adopt)
    planned = planner.plan(desired, observed, policy)
    _print_run(planned.actions, planned.rejected, observed, form)


@dtp.command()
@option("--wait", default=0, type=click.IntRange(0), metavar="SECONDS",
        help="Wait up to this long for the ends of what is open.")  # fmt: skip
@option("--dry-run", is_flag=True, help="Only show what would be done: dtp plan.")
@option("--rename-source", is_flag=True, help="The branch or repository has a new name.")
@branch_options
@guard_options
@cluster_options
@format_option
@click.pass_context
def dispatch(
    ctx: click.Context,
    /,
    wait: int,
    dry_run: bool,
    rename_source: bool,
    source: str | None,
    commit: str,
    catalog: str | None,
    form: str,
    max_new: int,
    first_run: bool,
    adopt: bool,
    **target: str | None,
) -> Exit:
    """Start what the branch asks for, settle what has ended."""
    from dtp_action import dispatch as loop

    bounds = {"max_new": max_new, "first_run": first_run, "adopt": adopt}
    if dry_run:
        ctx.invoke(
            plan, commit=commit, catalog=catalog, source=source, form=form, **bounds, **target
        )
        return Exit.DONE
    cluster = Connection(**target).open()
    settings = cluster.settings()
    desired, rows = _desired(ctx.obj, commit, catalog, settings)
    policy = _policy(rows, settings, desired, **bounds)
    with _watching(quiet=form == "json") as watch:
        result = loop.run(
            cluster,
            desired,
            policy,
            patience=loop.Patience(
                seconds=wait, monotonic=time.monotonic, sleep=time.sleep, watch=watch
            ),
            source=partial(_source, source, target["cluster"]),
            rename=rename_source,
        )
    _print_run(result.actions, result.rejected, result.observed, form)
    return Exit.BAD_OUTCOME if wait and result.bad else Exit.DONE


@dtp.command()
@click.argument("ref")
@option("--request", default="", metavar="KEY", help="Given again, the same key does nothing.")
@branch_options
@cluster_options
@format_option
@click.pass_obj
def retry(
    directory: Path,
    /,
    ref: str,
    request: str,
    commit: str,
    catalog: str | None,
    source: str | None,
    form: str,
    **target: str | None,
) -> None:
    """Run a job again: another attempt, with the script as it is on the branch."""
    from dtp_action import dispatch as loop
    from dtp_action.core import planner

    cluster = Connection(**target).open()
    settings = cluster.settings()
    desired, rows = _desired(directory, commit, catalog, settings)
    observed = loop.look(cluster)
    loop.identify(cluster, observed, _source(source, target["cluster"], observed))
    policy = _policy(rows, settings, desired)
    action = planner.retry(_ref(ref), desired, observed, policy, request)
    done = loop.apply(cluster, action, observed) if action else []
    _print_run(done, (), loop.look(cluster), form, refs=[_ref(ref)])


@dtp.command()
@click.argument("ref")
@option("--request", default="", metavar="KEY", help="Given again, the same key does nothing.")
@cluster_options
@format_option
def cancel(ref: str, request: str, form: str, **target: str | None) -> None:
    """End the active attempt of a job."""
    from dtp_action import dispatch as loop
    from dtp_action import settings
    from dtp_action.core import planner

    cluster = Connection(**target).open()
    observed = loop.look(cluster)
    action = planner.cancel(_ref(ref), observed, by=settings.actor(os.environ), request=request)
    done = loop.apply(cluster, action, observed) if action else []
    _print_run(done, (), loop.look(cluster), form, refs=[_ref(ref)])


@dtp.command()
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option("--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml.")
@option("--cluster-settings", metavar="FILE", help="The admin's settings.yaml; else an example.")
@click.pass_obj
def render(
    directory: Path, script: Path, catalog: str | None, cluster_settings: str | None
) -> None:
    """Print the ledger entry and the Job of a script as YAML."""
    from dtp_action.adapters import checkout
    from dtp_action.core import rendering, scripts

    rows = _catalog(catalog, partial(_site_catalog, directory))
    settings = rendering.settings(_read(cluster_settings) if cluster_settings else None)
    files = checkout.working_tree(directory, (str(script),))
    desired = scripts.discover(files, commit="", catalog=rows, settings=settings)
    click.echo(rendering.render(desired, rows, settings), nl=False)


@dtp.command()
@option("--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml.")
@click.pass_obj
def protocols(directory: Path, catalog: str | None) -> None:
    """List the protocols: image, defaults, exit codes worth retrying."""
    from dtp_action.adapters import terminal

    rows = _catalog(catalog, partial(_site_catalog, directory))
    terminal.console().print(terminal.protocols_table(rows))


# --- what commands share -------------------------------------------------------------------------


def _catalog(file: str | None, site: Callable[[], bytes | None]) -> Catalog:
    """Return the built-in rows, extended by the file given or else by the branch's own."""
    from dtp_action.core import catalog

    rows = catalog.builtin()
    content = _read(file) if file else site()
    return catalog.parse(content, file or catalog.SITE_FILE, base=rows) if content else rows


def _site_catalog(directory: Path) -> bytes | None:
    """Return the working tree's own rows, if it has any."""
    from dtp_action.core.catalog import SITE_FILE

    path = directory / SITE_FILE
    return _read(str(path)) if path.is_file() else None


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def _desired(
    directory: Path, revision: str, catalog_file: str | None, settings: ClusterSettings
) -> tuple[Desired, Catalog]:
    """Return what a commit asks for, checked as far as it can be without running anything."""
    from dtp_action.adapters import checkout, shells
    from dtp_action.core import catalog, scripts

    commit, files = checkout.committed(directory, revision)
    rows = _catalog(catalog_file, lambda: checkout.read_file(directory, commit, catalog.SITE_FILE))
    desired = scripts.discover(files, commit=commit, catalog=rows, settings=settings)
    return scripts.reject(desired, shells.syntax_findings(desired)), rows


def _policy(rows: Catalog, settings: ClusterSettings, desired: Desired, **bounds: Any) -> Policy:
    from dtp_action.core import catalog, planner
    from dtp_action.core.model import Origin

    return planner.Policy(
        resolve=lambda script: catalog.resolve(script, catalog=rows, settings=settings),
        origin=lambda _ref: Origin(commit=desired.commit),
        stuck_limit=settings.stuck_limit,
        queue_allowance=settings.queue_allowance,
        retention=settings.retention,
        run=uuid.uuid4().hex[:12],
        **bounds,
    )


def _source(flag: str | None, where: str | None, observed: Observed) -> str:
    from dtp_action import settings

    known = observed.identity.source if observed.identity else None
    local = "local" if where and where.startswith("local") else None
    return settings.source(flag, os.environ, known or local)


def _ref(text: str) -> Ref:
    from dtp_action.core.model import Ref

    try:
        return Ref.parse(text)
    except ValueError as error:
        raise UsageError(str(error), hint="for example dtp-aws/sequence-index") from error


def _must_know(refs: Iterable[Ref], observed: Observed) -> None:
    known = {entry.ref for entry in observed.entries}
    for ref in refs:
        if ref not in known:
            raise UsageError(f"no job {ref} in the ledger", hint="dtp status lists all jobs")


def _entry(ref: Ref, attempt: int | None, observed: Observed) -> Any:
    _must_know([ref], observed)
    entries = observed.of(ref)
    found = [entry for entry in entries if attempt in (None, entry.attempt)]
    if not found:
        last = entries[-1].attempt
        raise UsageError(f"{ref} has no attempt {attempt}", hint=f"its last attempt is {last}")
    return found[-1]


def _watching(*, quiet: bool) -> Any:
    from contextlib import nullcontext

    from dtp_action.adapters import terminal

    return nullcontext(lambda _observed: None) if quiet else terminal.watching()


def _print_run(
    done: Iterable[Any],
    rejected: Iterable[Any],
    observed: Observed,
    form: str,
    refs: Iterable[Ref] = (),
) -> None:
    from dtp_action.core import report

    actions, refused = report.actions(done), report.rejected(rejected)
    rows = report.jobs(observed, refs=refs)
    if form == "json":
        _print_json({"actions": actions, "rejected": refused, "jobs": rows})
        return
    from dtp_action.adapters import terminal

    out = terminal.console()
    if refused:
        out.print(terminal.findings_text(refused), soft_wrap=True)
    told = [row for row in actions if row["action"] not in report.BOOKKEEPING]
    out.print(terminal.actions_table(told) if told else "nothing to do")
    if rows:
        out.print(report.verdict(rows))


def _print_json(document: dict[str, Any]) -> None:
    from dtp_action.core.report import VERSION

    click.echo(json.dumps({"version": VERSION, **document}, indent=2))


# --- the boundary --------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line and leave with a documented exit code."""
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
