"""The command line: the group of commands, the only error boundary and the only exit.

The commands stand by the chair one sits in: researchers, watching, admins. Adapters and rich are
imported inside the command that needs them, so that `dtp --help` and `dtp check` pay for no SDK.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from dtp_action import __version__
from dtp_action.cli import admins, cluster_admins, images, researchers, watching
from dtp_action.cli.options import workflow
from dtp_action.errors import DtpError, Exit

CHAIRS = {
    "Researchers": (researchers.check, researchers.run, researchers.preview),
    "Watching": (watching.status, watching.logs, watching.files),
    "Admins": (
        admins.plan,
        admins.dispatch,
        admins.retry,
        admins.cancel,
        admins.admit,
        admins.answer,
        admins.render,
        admins.protocols,
        images.images,
        cluster_admins.doctor,
        cluster_admins.kubeconfig,
    ),
}


class Commands(click.Group):
    """The group of commands, listed in its help by the chair one sits in."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for chair, commands in CHAIRS.items():
            rows = [(str(one.name), one.get_short_help_str(limit=70)) for one in commands]
            with formatter.section(chair):
                formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-C", "directory", type=click.Path(path_type=Path), default=".", metavar="DIR",
              help="The git checkout to work on.")  # fmt: skip
@click.version_option(__version__, prog_name="dtp")
@click.pass_context
def dtp(ctx: click.Context, directory: Path) -> None:
    """Data transfers by pull request: merged scripts run in Pods on a shared claim, once each."""
    if (runner := workflow()) and os.environ.get("DTP_KUBECONFIG"):
        runner.refuse_cluster()  # whether or not the command would use it
    ctx.obj = directory


for _commands in CHAIRS.values():
    for _command in _commands:
        dtp.add_command(_command)


# --- the boundary --------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line and leave with a documented exit code."""
    gc.set_threshold(100_000)  # a large ledger is many small objects, and none of them is garbage
    runner = workflow()
    if runner is None:
        sys.exit(_run())
    from dtp_action.adapters import actions

    with actions.quiet():
        code = _run()
    known = [one.name for one in Exit if one == code]  # a script's own code has no name
    runner.output("result", "".join(known).lower().replace("_", "-"))
    sys.exit(code)


def _run() -> int:
    try:
        code = dtp.main(prog_name="dtp", standalone_mode=False)
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
    if runner := workflow():
        runner.annotate("error", f"{message}\n{hint}" if hint else message)
