"""What people may ask for in a comment on a pull request, and who may: `/dtp retry dtp-aws/genome`.

Reads a comment's first line as data. Knows neither GitHub nor how a command is carried out.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from dtp_action.core import documents
from dtp_action.core.model import Ref
from dtp_action.core.pulls import Asked, Permission

MOST_LINES, USUAL_LINES = 200, 50  # of a log in an answer


class Verb(StrEnum):
    """What can be asked for."""

    STATUS = "status"
    LOGS = "logs"
    RETRY = "retry"
    CANCEL = "cancel"
    HELP = "help"


FORMS = {
    Verb.STATUS: ("/dtp status", "how the jobs of this pull request stand; also `status JOB`"),
    Verb.LOGS: (
        "/dtp logs JOB [n]",
        f"the last n lines that a job printed ({USUAL_LINES} unless given)",
    ),
    Verb.RETRY: ("/dtp retry JOB", "run a job again, with its script as it is on the branch"),
    Verb.CANCEL: ("/dtp cancel JOB", "end a job that waits or runs"),
    Verb.HELP: ("/dtp help", "this list"),
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One thing asked for. `ref` is there where the verb needs one."""

    verb: Verb
    ref: Ref | None = None
    lines: int = USUAL_LINES


def parse(body: str) -> Command | str | None:
    """Return what a comment asks for, in words what is wrong with it, None where it asks nothing.

    Only the first line counts, and only when it begins with `/dtp`.
    """
    first, *_ = body.splitlines() or [""]
    words = first.split()
    if not words or words[0] != "/dtp":
        return None
    verb, *rest = words[1:] or [Verb.HELP]
    if verb not in FORMS:
        return f"`/dtp {_shown(verb)}` is no command{documents.closest(verb, FORMS)}"
    return _with_arguments(Verb(verb), rest)


def _with_arguments(verb: Verb, words: list[str]) -> Command | str:
    form, _ = FORMS[verb]
    wrong = f"`{form}` is how it is written; a job is `dtp-<protocol>/<job>`"
    most = {Verb.HELP: 0, Verb.LOGS: 2}.get(verb, 1)
    least = 0 if verb in (Verb.HELP, Verb.STATUS) else 1
    if not least <= len(words) <= most:
        return wrong
    try:
        ref = Ref.parse(words[0].strip("`")) if words else None
    except ValueError:
        return wrong
    lines = USUAL_LINES
    if len(words) > 1:
        if not re.fullmatch(r"[1-9]\d{0,5}", words[1], re.ASCII):
            return wrong
        lines = min(int(words[1]), MOST_LINES)
    return Command(verb=verb, ref=ref, lines=lines)


def _shown(word: str) -> str:
    return re.sub(r"[^\w.-]", "", word)[:40]


def refusal(command: Command, asked: Asked, permission: Permission) -> str:
    """Return why somebody may not ask for this here, '' where they may.

    Who can write to the repository may do all. The author of a merged pull request may do it with
    the jobs that it brought: `foreign` tells which are not.
    """
    if permission.writes or command.verb is Verb.HELP:
        return ""
    if asked.author is None or asked.author != asked.pull_author:
        return f"{_needs(command)}, or to be the author of this pull request. {_has(permission)}"
    if not asked.merged:
        return f"{_needs(command)} until this pull request is merged. {_has(permission)}"
    return ""


def foreign(command: Command, permission: Permission, own: Collection[Ref]) -> str:
    """Return why a pull request's author may not have this done with a job, '' where they may."""
    if permission.writes or command.ref is None or command.ref in own:
        return ""
    return f"{_needs(command)} for a job that came by another pull request. {_has(permission)}"


def _needs(command: Command) -> str:
    return f"`{command.verb}` needs the permission `write` on this repository"


def _has(permission: Permission) -> str:
    return f"Yours is `{permission}`."


def help_text() -> str:
    """Return the list of what can be asked for."""
    rows = [f"| `{form}` | {meaning} |" for form, meaning in FORMS.values()]
    return "\n".join(
        [
            "A comment that begins with one of these is answered here:",
            "",
            "| command | what it does |",
            "|---|---|",
            *rows,
            "",
            "Who can write to this repository may do all of it. The author of a merged pull"
            " request may ask about its jobs, run them again and cancel them.",
        ]
    )
