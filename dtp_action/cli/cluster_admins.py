"""The commands of the cluster's admin: is the set-up right, and how does GitHub get in."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import click

from dtp_action import settings
from dtp_action.cli.options import Site, branch_option, format_option, option, site_options, warn
from dtp_action.cli.options import workflow as in_workflow
from dtp_action.cli.work import print_json
from dtp_action.errors import DtpError, Exit, UsageError

if TYPE_CHECKING:
    from dtp_action.core.doctor import Diagnosis

SHORTEST = 600  # seconds; Kubernetes makes no shorter tokens
SLACK = 60  # seconds by which a token may miss what was asked for


@click.command()
@site_options
@branch_option
@option("--source", metavar="TEXT", help="The branch that the ledger should belong to.")
@format_option
def doctor(site: Site, branch: str | None, source: str | None, form: str) -> Exit:
    """Check the set-up: a line for each check, and what to do."""
    from dtp_action.core import doctor as judge

    whose = source or settings.github_source(os.environ, branch)
    found, code = examined(site, whose)
    if form == "json":
        print_json(checks=judge.rows(found))
    else:
        print_checks(found)
    if runner := in_workflow():
        for one in found:
            if one.state is judge.State.PROBLEM:
                runner.annotate("error", f"{one.check}: {one.message}\n{one.fix}")
    return code


def examined(site: Site, source: str | None) -> tuple[tuple[Diagnosis, ...], Exit]:
    """Return all lines and the exit code; what cannot be reached is a line, too."""
    from dtp_action.core import doctor as judge

    check = "kubeconfig"
    try:
        if site.is_local:
            return embedded(site, source), Exit.DONE
        login = site.login()
        check = "server"
        from dtp_action.adapters import doctor as eyes

        found = judge.examine(eyes.look(login, source))
    except DtpError as error:
        return (judge.stopped(check, error),), error.exit_code
    bad = any(one.state is judge.State.PROBLEM for one in found)
    return found, Exit.BAD_OUTCOME if bad else Exit.DONE


def embedded(site: Site, source: str | None) -> tuple[Diagnosis, ...]:
    """Return the lines about the embedded cluster, which has little that could be wrong."""
    from dtp_action.core import doctor as judge

    cluster = site.open()
    cluster.settings()
    return judge.embedded(cluster.ledger(), source=source, uid=cluster.namespace_uid())


def print_checks(found: tuple[Diagnosis, ...]) -> None:
    """Print the table, and one line about it."""
    from dtp_action.adapters import terminal
    from dtp_action.core import doctor as judge

    out = terminal.console()
    out.print(terminal.checks_table(judge.rows(found)))
    out.print(judge.verdict(found))


@click.command()
@site_options
@option("--duration", default="90d", show_default=True, metavar="TIME",
        help="How long its token is to be good for; the cluster may grant less.")  # fmt: skip
@option("--format", "form", type=click.Choice(["base64", "yaml"]), default="base64",
        help="How to print; base64 is one line, as a secret of GitHub should be.")  # fmt: skip
def kubeconfig(site: Site, duration: str, form: str) -> None:
    """Make a kubeconfig for GitHub, with a token that expires."""
    from dtp_action.core import doctor as judge
    from dtp_action.core.ledger import stamp
    from dtp_action.core.report import human_time

    if site.is_local:
        raise UsageError("the embedded cluster is reached without a kubeconfig")
    seconds = read_duration(duration)
    from dtp_action.adapters import mint

    runner, login = in_workflow(), site.login()
    mask = runner.mask if runner else lambda _secret: None
    made = mint.mint(login, seconds, mask)
    line = base64.b64encode(made.text.encode()).decode()
    mask(line)
    granted = human_time(made.seconds)
    click.echo(f"its token ends on {stamp(made.ends)}, in {granted}", err=True)
    if made.seconds < seconds - SLACK:
        warn(f"the cluster grants {granted} where {duration} was asked for: {judge.CREDENTIALS}")
    if told := judge.near_by(login.server):
        warn(told)
    click.echo(line if form == "base64" else made.text.rstrip())


def read_duration(text: str) -> int:
    """Return how many seconds a token is to be good for; raises UsageError."""
    from dtp_action.core.quantities import TIME

    try:
        seconds = TIME.parse(text)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from error
    if seconds < SHORTEST:
        raise UsageError(
            f"--duration: {text} is too short: Kubernetes makes tokens for 10m or more"
        )
    return seconds
