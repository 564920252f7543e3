"""The command that asks registries whether the catalog's images are there, and current."""

from __future__ import annotations

from pathlib import Path

import click

from dtp_action.cli.options import (
    api_url_option,
    catalog_option,
    format_option,
    github,
    option,
    repository_option,
    workflow,
)
from dtp_action.cli.work import print_json, working_catalog
from dtp_action.errors import Exit, UsageError


@click.command()
@option("--issue", is_flag=True, help="Keep one issue about what needs attention.")
@option("--cluster-name", default="", metavar="NAME", help="Whose catalog the issue is about.")
@catalog_option
@option("--github-token", metavar="TOKEN", help="It may write issues.")
@repository_option
@api_url_option
@format_option
@click.pass_obj
def images(
    directory: Path, /, issue: bool, cluster_name: str, catalog: str | None, form: str,
    **where: str | None,
) -> Exit:  # fmt: skip
    """Check whether the catalog's images exist and are current."""
    from dtp_action.adapters import registry, terminal
    from dtp_action.core import images as core

    hub = github(**where) if issue else None
    if issue and not hub:
        raise UsageError("--issue needs --github-token and --github-repository")
    registries, named = registry.Registries(), core.named(working_catalog(directory, catalog))
    found = [core.judge(one, registries.look(one.reference)) for one in named]
    if form == "json":
        print_json(images=core.rows(found))
    else:
        terminal.console().print(terminal.images_text(core.rows(found)), soft_wrap=True, end="")
        click.echo(core.summary(found))
    runner = workflow()
    if runner:
        runner.summarise(core.run_summary(found))
    if hub:
        there, run_url = hub.issues(core.mark(cluster_name)), runner.run_url if runner else ""
        for step in core.steps(found, there, name=cluster_name, run_url=run_url):
            click.echo(hub.keep(step), err=True)
    return core.exit_code(found, told=issue)
