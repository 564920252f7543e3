"""What people may ask for in a comment on a pull request, and who may: `/dtp retry dtp-aws/genome`.

Reads the lines of a comment as data. Knows neither GitHub nor how a command is carried out.
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
MOST_COMMANDS = 20  # of one comment; each costs the cluster some requests
FENCE = re.compile(r"\s*(?:`{3,}|~{3,})")


class Verb(StrEnum):
    """What can be asked for."""

    STATUS = "status"
    LOGS = "logs"
    FILES = "files"
    RETRY = "retry"
    CANCEL = "cancel"
    HELP = "help"


FORMS = {
    Verb.STATUS: ("/dtp status", "how the jobs of this pull request stand; also `status JOB`"),
    Verb.LOGS: (
        "/dtp logs JOB [n]",
        f"the last n lines that a job printed ({USUAL_LINES} unless given)",
    ),
    Verb.FILES: ("/dtp files JOB", "what arrived in a job's directory, the newest first"),
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

    @property
    def written(self) -> str:
        """The command as it is typed."""
        lines = str(self.lines) if self.verb is Verb.LOGS and self.lines != USUAL_LINES else ""
        return " ".join(filter(None, ["/dtp", self.verb, str(self.ref or ""), lines]))


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that one comment asks for, in order, and what of it is not carried out.

    A line that cannot be understood is the sentence that says so. A command's place is the same
    whenever the comment is read: what is done can be told from what is not by that.
    """

    commands: tuple[Command | str, ...]
    left_out: tuple[str, ...] = ()


def parse(body: str) -> Request | None:
    """Return what a comment asks for; None where it asks nothing.

    Commands are the lines at the top of a comment that begin with `/dtp`, in a block of code too,
    as they are pasted. The first line of other text ends them: below it may be a message that is
    answered. Commands there are not carried out, and that is said; quoted ones (`>`) are no
    commands.
    """
    top, rest = _cut(body.splitlines())
    found = tuple(dict.fromkeys(map(_read, top)))
    more, late = len(found[MOST_COMMANDS:]), len(_outside_fences(rest))
    if not found and not late:
        return None
    left_out = [TOO_MANY.format(more)] * bool(more)
    left_out += [TOO_LATE.format(f"{late} lines" if late > 1 else "1 line")] * bool(late)
    return Request(commands=found[:MOST_COMMANDS], left_out=tuple(left_out))


TOO_MANY = (
    f"The first {MOST_COMMANDS} commands of a comment are carried out, and {{}} more are left out:"
    " write another comment with those."
)
TOO_LATE = (
    "{} with `/dtp` below other text: not carried out. Write commands at the top of a comment, one"
    " on each line."
)


def _is_command(line: str) -> bool:
    return [word.lower() for word in line.split()[:1]] == ["/dtp"]


def _cut(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the commands at the top, and all lines below them."""
    for at, line in enumerate(lines):
        if line.strip() and not _is_command(line) and not FENCE.match(line):
            return [one for one in lines[:at] if _is_command(one)], lines[at:]
    return [one for one in lines if _is_command(one)], []


def _outside_fences(lines: list[str]) -> list[str]:
    """Return the lines that would be commands; a block of code below text explains something."""
    fenced, found = False, []
    for line in lines:
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and _is_command(line):
            found.append(line)
    return found


def _read(line: str) -> Command | str:
    """Return the command of a line, or what is wrong with it."""
    verb, *rest = line.split()[1:] or [Verb.HELP]
    if verb.lower() not in FORMS:
        return f"`/dtp {_shown(verb)}` is no command{documents.closest(verb.lower(), FORMS)}"
    return _with_arguments(Verb(verb.lower()), rest)


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
            "A comment with these at its top, one on each line, is answered here:",
            "",
            "| command | what it does |",
            "|---|---|",
            *rows,
            "",
            "Who can write to this repository may do all of it. The author of a merged pull"
            " request may ask about its jobs, run them again and cancel them.",
        ]
    )
