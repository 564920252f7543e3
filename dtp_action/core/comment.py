"""What people read on GitHub: how jobs stand, what to do next, what merging would do.

Rows in, Markdown out. A view: nothing is read back. Written for people who cannot see the cluster
and know none of its words. Whatever a script or a person wrote is data: markdown sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from dtp_action.core import brief, commands, report, secrets
from dtp_action.core.catalog import SITE_FILE
from dtp_action.core.catalog_changes import RowChange
from dtp_action.core.commands import Command, Verb
from dtp_action.core.markdown import code, fenced, folded, link, name, plain, prose, table
from dtp_action.core.model import Arrived, Finding, Note, Phase, Severity, Why
from dtp_action.core.preview import Change, Foreseen, Preview, Will
from dtp_action.core.pulls import Disabled

Row = dict[str, Any]

LIMIT = 65_536 - 1_000  # characters: GitHub's own, with room for hidden lines above
SUMMARY_LIMIT = 1_000_000  # bytes: GitHub drops a summary of 1 MiB whole
DESCRIPTION_LIMIT = 140  # characters of a commit status
REASON, BRIEF_REASON = 140, 60  # characters of a reason in a row
MENTIONED = 5  # jobs named in a mention
NAMED = 10  # files or jobs in a sentence
MANY = 20  # jobs; of more, those that ended well are folded

STATES = {  # what needs somebody first
    Phase.FAILED: "❌ **failed**",
    Phase.ERRORED: "⚠️ **errored**",
    Phase.LOST: "❓ **lost**",
    report.DOUBTED: "⚠️ **done, with doubts**",
    "rejected": "⛔ **rejected**",
    "held": "⏸️ **held**",
    Phase.RUNNING: "🔄 **running**",
    Phase.WAITING: "⏳ **waiting**",
    Phase.SUCCEEDED: "✅ **done**",
    Phase.CANCELLED: "🚫 **cancelled**",
}
URGENCY = {state: number for number, state in enumerate(STATES)}
BREAK = "  \n"  # a new line of the same paragraph, also where GitHub joins lines
WELL = (Phase.SUCCEEDED, Phase.CANCELLED)
BAD = (Phase.FAILED, Phase.ERRORED, Phase.LOST, report.DOUBTED)
WORDS = (*(phase.shown for phase in Phase), report.DOUBTED)


# --- how jobs stand ------------------------------------------------------------------------------


def status(
    rows: Iterable[Row],
    notes: Iterable[Note],
    tails: Mapping[str, str],
    *,
    cluster: str,
    as_of: str,
    next_look: str,
    logs: bool,
    repository_url: str,
    run_url: str,
    arrived: Mapping[str, Arrived] | None = None,
) -> str:
    """Return the comment that is kept true, without its marker.

    `tails` are ends of logs by the attempt's name, `arrived` lists of what arrived; with `logs`
    False none is shown. Over the limit the longest lists go first, then the longest logs, then
    where jobs came from, then reasons are shortened: never a row.
    """
    jobs = sorted(rows, key=_urgency)
    found = {row["name"]: tails.get(row["name"], "") for row in jobs if logs}
    lists = arrived if arrived and logs else {}
    page = _Page(
        jobs=jobs,
        notes=sorted(notes, key=_urgency),
        about=_about(cluster, as_of, next_look, run_url),
        ends={row["name"]: _log(row, text) for row in jobs if (text := found.get(row["name"]))},
        lists={row["name"]: _list(row, one) for row in jobs if (one := lists.get(row["name"]))},
        hint="" if logs else NO_LOGS,
        provenance=_provenance(jobs, repository_url),
    )
    return next(text for text in page.ever_shorter() if len(text) <= LIMIT)


NO_LOGS = "_What jobs print is not shown in this repository._"
NO_LISTS = "_Names of files are not shown in this repository._"
LISTED = 20  # names of files in a comment
LEFT_OUT = "_The logs of {} more have no room here: `/dtp logs JOB` in a comment shows one._"
IN_BRIEF = (
    "In a comment here, `/dtp status JOB` tells more about a job, `/dtp logs JOB` shows the end of"
    " its log, `/dtp files JOB` what arrived, `/dtp retry JOB` runs it again. Its files and its"
    " whole log lie on the shared volume in `/workspace/dtp-jobs/JOB`."
)


@dataclass(frozen=True, kw_only=True)
class _Page:
    """The parts of the comment; `ends` (of logs) and `lists` are folded, by the attempt's name."""

    jobs: Sequence[Row]
    notes: Sequence[Note]
    about: str
    ends: Mapping[str, str]
    lists: Mapping[str, str]
    hint: str
    provenance: str

    def ever_shorter(self) -> Iterator[str]:
        """Yield the comment, each time with something less; the last one fits anywhere."""
        head = f"### {_verdict(self.jobs, self.notes)}\n\n{self.about}"
        folds = WELL if len(self.jobs) > MANY else ()
        jobs = _table([row for row in self.jobs if _standing(row) not in folds], self.notes, REASON)
        well = [row for row in self.jobs if _standing(row) in folds]
        rest = folded(report.verdict(well), "", _table(well, (), REASON)) if well else ""
        steps = _next(self.jobs, self.notes, self.ends)
        main = [head, jobs, *steps, _files(self.jobs), rest]
        room = LIMIT - len(_joined([*main, self.provenance])) - 200
        ends = _shortest(self.ends, room)
        left_out = len(self.ends) - len(ends)
        hint = LEFT_OUT.format(left_out) if left_out else self.hint
        lists = _shortest(self.lists, room - sum(len(end) + 2 for end in ends))
        yield _joined([*main, *lists, *ends, hint, self.provenance])
        yield _joined([*main, hint])
        brief = [head, hint, IN_BRIEF]
        yield _joined([*brief, _table(self.jobs, self.notes, BRIEF_REASON)])
        least = _joined([*brief, _table(self.jobs, self.notes, 0)])
        yield _cut(least, least[: LIMIT - 100])


def _shortest(ends: Mapping[str, str], room: int) -> list[str]:
    """Return as many as there is room for, in their order."""
    left = dict(ends)
    while left and sum(len(end) + 2 for end in left.values()) > room:
        del left[max(left, key=lambda name: len(left[name]))]
    return list(left.values())


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts))


def _cut(text: str, fitting: str) -> str:
    """Return the whole lines of what fits, of a text that ends with a table."""
    if fitting == text:
        return text
    kept = fitting.rpartition("\n")[0]
    lines = text.count("\n", len(kept))
    return f"{kept}\n\nAnd {lines} more."


def _urgency(one: Row | Note) -> tuple[int, str]:
    return URGENCY[_standing(one)], one.ref if isinstance(one, Note) else one["ref"]


def _state(one: Row | Note) -> str:
    return STATES[_standing(one)]


def _standing(one: Row | Note) -> str:
    if isinstance(one, Note):
        return one.state
    return report.DOUBTED if one["doubts"] else str(one["phase"])


def _verdict(jobs: Sequence[Row], notes: Sequence[Note]) -> str:
    """Return it all in a line, with the sign of what is most urgent."""
    counts = {state: sum(note.state == state for note in notes) for state in ("rejected", "held")}
    told = [f"{number} {state}" for state, number in counts.items() if number]
    if jobs or not told:
        told.insert(0, report.verdict(list(jobs)))
    everything: list[Row | Note] = [*jobs, *notes]
    sign = _state(min(everything, key=_urgency)).split()[0] if everything else ""
    return f"{sign} {', '.join(told)}".lstrip()


def _about(cluster: str, as_of: str, next_look: str, run_url: str) -> str:
    told = [
        cluster and f"Cluster **{plain(cluster)}**",
        as_of and f"as of {_clock(as_of)} UTC",
        next_look and f"next look {plain(next_look)}",
        run_url and link("run", run_url),
    ]
    return " · ".join(filter(None, told))


def _clock(stamp: str) -> str:
    at = datetime.fromisoformat(stamp)
    return f"{at.day} {at:%b %Y, %H:%M}"


def _table(jobs: Sequence[Row], notes: Sequence[Note], most: int) -> str:
    """Return a short row per job; `most` bounds the characters of reasons."""
    everything: list[Row | Note] = sorted([*jobs, *notes], key=_urgency)
    shown = name if most == REASON else code  # which is shorter, and cannot break
    lines = [
        [shown(one.ref), _state(one)]
        if isinstance(one, Note)
        else [shown(one["ref"]) + _number(one), _told(one, most)]
        for one in everything
    ]
    return table(["job", "state"], lines) if lines else ""


def _job(row: Row) -> str:
    return name(row["ref"]) + _number(row)


def _number(row: Row) -> str:
    return f" attempt {row['attempt']}" if row["attempt"] > 1 else ""


UNITS = re.compile(r"(?<=\d) |(?<=\d[dhm]) ")  # between a number and its unit, 1h and 20m


def _told(row: Row, most: int = REASON) -> str:
    """Return a job's state, why, what it says, for how long, what arrived, its network bytes."""
    why = brief.within(_reason(row), most) if most else ""
    traffic = report.traffic(row).replace(", 0 B out", "").removeprefix("0 B in, ")
    network = f"network {traffic}" if traffic else ""
    numbers = [report.human_time(row["duration_seconds"]), report.arrived(row), network]
    whole = [UNITS.sub("\N{NO-BREAK SPACE}", number) for number in numbers if most]
    says = plain(secrets.redact(row["progress"] or "")) if most else ""
    told = " · ".join(filter(None, [_worded(why), says, *whole]))
    between = " " if told.startswith("(") else " · "
    return f"{_state(row)}{between}{told}" if told else _state(row)


STATED = {Phase.FAILED: "your script failed ", Phase.CANCELLED: "cancelled "}  # by the state


def _reason(row: Row) -> str:
    if row["phase"] == Phase.LOST:
        return "nobody can tell whether it finished"
    if row["doubts"]:  # all of them stand below
        row = row | {"doubts": row["doubts"][:1]}
    return secrets.redact(report.told(row).removeprefix(STATED.get(row["phase"], "")))


TYPED = re.compile(r"#DTP \w+=\S+|\b(?:cpu|memory|disk|time)=|--[a-z-]+|\bdtp \w+ dtp-[\w./-]*\w")


def _worded(text: str) -> str:
    """Return a sentence of ours with what is to be typed as code, as it is typed here."""
    if "`" not in text:
        text = TYPED.sub(r"`\g<0>`", text).replace("`dtp ", "`/dtp ")
    return prose(text)


# --- what to do next -----------------------------------------------------------------------------


class _Advice(NamedTuple):
    """What to do about jobs that ended alike; `line` is for each of them, ready to paste."""

    title: str
    text: str
    line: str
    why: str = ""


AGAIN = "/dtp retry {ref}"
RAISE = (
    "Ask for {} with a line like this at the top of the script (or correct the one that is there),"
    " in a new pull request. When it is merged, the script runs again by itself."
)
RAISES = {  # by what the reason says
    "out of memory": _Advice("❌ Out of memory", RAISE.format("more memory"), "#DTP memory=8Gi"),
    "ran longer than": _Advice("❌ Out of time", RAISE.format("more time"), "#DTP time=48h"),
    "of scratch": _Advice("❌ Out of disk", RAISE.format("a larger `$TMPDIR`"), "#DTP disk=50Gi"),
}
SCRIPT = (
    " Correct the script in a new pull request: when it is merged, it runs again by itself. If the"
    " fault lay elsewhere (a server was down), run it as it is, by a comment here:"
)
NOT_STARTED = _Advice(
    "⚠️ The cluster could not run it",
    "The script is not to blame: it was not started. Show this to the people who run the cluster."
    " When they have mended it, write a comment here:",
    AGAIN,
)
STOPPED = _Advice(
    "⚠️ The cluster stopped it",
    "The script is not to blame. Part of its work may be done: `/dtp files {ref}` in a comment"
    " lists what arrived. To run it again from its beginning, write a comment here:",
    AGAIN,
)
LOST = _Advice(
    "❓ Nobody can tell whether it finished",
    "The job was deleted before its result was recorded. Only the people who run the cluster can"
    " see whether the data in `{directory}` is complete. If it is not, or to be sure, run it again"
    " by a comment here:",
    AGAIN,
)
DOUBTED = _Advice(
    "⚠️ Done, with doubts",
    "Its exit code is 0, but something may be missing. If so, correct the script in a new pull"
    " request: after the merge it runs again automatically. Otherwise there is nothing to do.",
    "",
)
CANCELLED = _Advice("🚫 Cancelled", "To run it after all, write a comment here:", AGAIN)


def _advice(row: Row, *, has_log: bool) -> _Advice | None:
    match Phase(row["phase"]):
        case Phase.FAILED:
            return _of_failure(row["reason"], has_log=has_log)
        case Phase.ERRORED:
            advice = NOT_STARTED if row["before_start"] else STOPPED
            why = _reason(row)
            said = f"The cluster said: {_worded(why)}. " if len(why) > REASON else ""
            return advice._replace(why=said)
        case Phase.LOST:
            return LOST
        case Phase.SUCCEEDED if row["doubts"]:
            return DOUBTED._replace(why="".join(map(_doubt, row["doubts"])))
        case Phase.CANCELLED if row["why"] not in (Why.REPLACED, Why.REMOVED):
            return CANCELLED
    return None


NO_LOG_HERE = "Its log is not shown here: it is `{log}` on the shared volume."


def _doubt(sentence: str) -> str:
    words = secrets.redact(sentence)
    return f"{_worded(words[:1].upper() + words[1:])}.{BREAK}"


def _of_failure(reason: str, *, has_log: bool) -> _Advice:
    for sign, advice in RAISES.items():
        if sign in reason:
            return advice
    where = "The end of its log is below." if has_log else NO_LOG_HERE
    return _Advice("❌ Your script failed", where + SCRIPT, AGAIN)


def _next(jobs: Sequence[Row], notes: Sequence[Note], ends: Mapping[str, str]) -> Iterator[str]:
    """Yield what to do about whatever needs somebody; jobs of one kind together."""
    found: dict[_Advice, list[str]] = {}
    for row in jobs:
        if advice := _advice(row, has_log=row["name"] in ends):
            found.setdefault(advice, []).append(row["ref"])
    steps = [_step(advice, refs) for advice, refs in found.items()]
    alike: dict[tuple[str, ...], list[Note]] = {}
    for note in notes:
        alike.setdefault((note.state, note.reason, note.fix), []).append(note)
    steps += map(_note, alike.values())
    if steps:
        yield "#### What to do next"
        yield from steps


def _step(advice: _Advice, refs: list[str]) -> str:
    ref = refs[0] if len(refs) == 1 else "JOB"
    text = advice.text.format(ref=ref, directory=_directory(ref), log=_log_path(ref))
    lines = list(dict.fromkeys(advice.line.format(ref=one) for one in refs))
    if len(lines) > 1:
        text = text.replace("a comment", "a comment with one or more of these lines")
    starts = range(0, len(lines), commands.MOST_COMMANDS)
    blocks = ["\n".join(lines[at : at + commands.MOST_COMMANDS]) for at in starts]
    block = "".join(
        f"\n{fenced(one)}" for one in blocks if one
    )  # each is as much as one comment may ask for
    title = f"**{advice.title}**: {', '.join(map(code, refs))}"
    return f"{title}{BREAK}{advice.why}{text}{block}"


def _note(same: list[Note]) -> str:
    reason = same[0].reason
    places = ", ".join(_place(note.path or note.ref, note.line) for note in same)
    sign, _, word = _state(same[0]).replace("**", "").partition(" ")
    why = _worded(reason[:1].upper() + reason[1:])
    told = f"**{sign} {word.capitalize()}**: {places}{BREAK}{why}"
    if same[0].state == "held":
        return told
    how = _instead(same[0].fix, "In a new pull request, write instead:")
    return told + (how or f"{BREAK}Correct it in a new pull request.")


def _place(path: str, line: int) -> str:
    return code(path) + (f", line {line}" if line else "")


def _instead(fix: str, how: str) -> str:
    return f"{BREAK}{how}\n{fenced(fix)}" if fix else ""


def _directory(ref: str) -> str:
    return f"/workspace/dtp-jobs/{ref}"


def _log_path(ref: str) -> str:
    return f"{_directory(ref)}/{ref.rpartition('/')[2]}.log"


def _files(jobs: Sequence[Row]) -> str:
    if not jobs:
        return ""
    whose, ref = ("Its", jobs[0]["ref"]) if len(jobs) == 1 else ("A job's", "JOB")
    return f"{whose} files and whole log lie on the shared volume: {code(_directory(ref))}"


# --- folded --------------------------------------------------------------------------------------


def _log(row: Row, text: str) -> str:
    return folded("End of the log of", row["ref"], fenced(secrets.redact(text)))


def _list(row: Row, found: Arrived) -> str:
    """Return the folded list; '' where nothing arrived, as the row says it."""
    lines = report.listing(found, LISTED)
    block = fenced(secrets.redact("\n".join(lines)))
    return folded("What arrived in", row["ref"], block) if lines else ""


def _provenance(jobs: Sequence[Row], repository_url: str) -> str:
    lines = [[_job(row), " <br>".join(_origin(row, repository_url))] for row in jobs]
    heads = ["job", "what ran, and when (UTC)"]
    return folded("Where it came from, and when", "", table(heads, lines)) if lines else ""


def _origin(row: Row, url: str) -> Iterator[str]:
    commit = row["commit"]
    script = f"{url}/blob/{commit}/dtp-jobs/{row['ref']}.sh"
    yield f"script {link(code(row['blob'][:7]), url and script)}"
    if count := row["files"]:
        folder = f"{url}/tree/{commit}/dtp-jobs/{row['ref']}.d"
        words = f"{count} file{'s' if count > 1 else ''} beside it"
        yield f"with {link(words, url and folder)}"
    yield f"commit {link(code(commit[:7]), url and f'{url}/commit/{commit}')}"
    if row["merged_by"]:
        yield f"merged by {plain(row['merged_by'])}"
    if digest := row["manifest_sha256"]:
        yield f"receipt {code(report.receipt_place(row))}, its SHA-256 {name(digest)}"
    for at, word in {"created": "recorded", "started": "started", "finished": "ended"}.items():
        if row[at]:
            yield f"{word} {_clock(row[at])}"


# --- at the end, and in answers ------------------------------------------------------------------

LOGIN = re.compile(r"[A-Za-z0-9][\w-]{0,99}", re.ASCII)


def mention(rows: Iterable[Row], *, author: str | None, cluster: str, comment_url: str) -> str:
    """Return the short comment that calls the author: edits call nobody."""
    jobs = sorted(rows, key=_urgency)
    count = {word: sum(report.state(row) == word for row in jobs) for word in WORDS}
    counts = ", ".join(f"{n} {word}" for word, n in count.items() if n)
    whom = f"@{author}: " if author and LOGIN.fullmatch(author) else ""
    where = f" on cluster **{plain(cluster)}**" if cluster else ""
    bad = [row for row in jobs if _standing(row) in BAD]
    lines = [f"- {_job(row)} {_told(row)}" for row in (bad or jobs)[:MENTIONED]]
    lines += [f"- and {more} more"] if (more := len(bad or jobs) - MENTIONED) > 0 else []
    further = link("What to do next" if bad else "All about it", comment_url)
    return _joined([f"{whom}{counts}{where}.", "\n".join(lines), further if comment_url else ""])


def description(rows: Iterable[Row]) -> str:
    """Return what a commit status says: plain text of at most 140 characters."""
    jobs = list(rows)
    text = report.verdict(jobs)
    if len(jobs) == 1:
        why = [report.state(jobs[0]), _reason(jobs[0])]
        text = f"{jobs[0]['ref']} {': '.join(filter(None, why))}"
    return brief.within(text, DESCRIPTION_LIMIT)


def done_reply(row: Row) -> str:
    """Return the answer to a retry or cancel: how the job stands now."""
    return f"{code(row['ref'])}, attempt {row['attempt']}: {_told(row)}"


ALONE = "_This answer did not fit here: ask for it in a separate comment._"


def answer(request: commands.Request, answers: Sequence[str]) -> str:
    """Return the one comment that answers all that another one asks for.

    `answers` has one for each command. Over the limit the longest are left out, and that is said.
    """
    asked, several = request.commands, len(request.commands) > 1
    unclear = any(isinstance(one, str) or one.verb is Verb.HELP for one in asked)
    rest = [*request.left_out, commands.help_text() if unclear else ""]
    shown = list(answers)
    by_length = sorted(range(len(shown)), key=lambda at: -len(shown[at]))
    while True:
        named = map(_named, asked, shown) if several else shown
        text = _joined([*named, *rest])
        if len(text) <= LIMIT or not by_length or not several:
            return text
        shown[by_length.pop(0)] = ALONE


def _named(command: Command | str, text: str) -> str:
    """Return an answer below the command that it answers."""
    return _joined([code(command.written), text]) if isinstance(command, Command) else text


def log_reply(row: Row, text: str | None) -> str:
    """Return the answer to `/dtp logs`; `text` is None where logs are not shown, else their end."""
    shown = NO_LOGS if text is None else _end(text)
    if not shown:
        none = "It has printed nothing, or its log was gone before its end could be kept."
        waits = row["before_start"] or Phase(row["phase"]) is Phase.WAITING
        shown = "It has not started." if waits else none
    where = f"Its whole log lies on the shared volume: {code(_log_path(row['ref']))}"
    return _joined([done_reply(row), shown, where])


UNTIL_ENDED = "The list of files is made when the attempt ends."
NOT_LISTED = (
    "What arrived is unknown: the list could not be made or kept. The people who run the cluster"
    " can look in {directory}."
)


def files_reply(row: Row, found: Arrived | None, *, shown: bool) -> str:
    """Return the answer to `/dtp files`; with `shown` False no names may be."""
    return _joined([done_reply(row), _files_of(row, found, shown=shown)])


def _files_of(row: Row, found: Arrived | None, *, shown: bool) -> str:
    directory = code(_directory(row["ref"]))
    if not Phase(row["phase"]).ended:
        return UNTIL_ENDED
    if row["before_start"]:
        return "It has not started, so nothing arrived."
    if not shown:
        return NO_LISTS
    if found is None:
        return NOT_LISTED.format(directory=directory)
    lines = report.listing(found, len(found.files))
    if not lines:
        return f"No file in {directory} is new or changed."
    block = fenced(secrets.redact("\n".join(lines)))
    return _joined([f"What arrived in {directory}, the newest first:", block])


def _end(text: str) -> str:
    """Return the end of a log, as much as there is room for."""
    block = fenced(secrets.redact(text)) if text.strip() else ""
    return block if len(block) <= LIMIT - 2_000 else _end(text[len(text) // 4 + 1 :])


# --- the page of a run ---------------------------------------------------------------------------


def summary(
    actions: Iterable[Row],
    rejected: Iterable[Row],
    rows: Iterable[Row],
    *,
    cluster: str,
    warnings: Iterable[str],
) -> str:
    """Return a run's step summary: what it did, what stands in its way, how all jobs stand."""
    jobs = sorted(rows, key=_urgency)
    did = [row for row in actions if row["action"] not in report.BOOKKEEPING]
    done = [[_job(row), row["action"], _worded(row["reason"])] for row in did]
    refused = [[_place(row["path"], row["line"]), _worded(row["message"])] for row in rejected]
    text = _joined(
        [
            f"### {_verdict(jobs, ())}",
            _about(cluster, "", "", ""),
            "\n".join(f"- ⚠️ {_worded(warning)}" for warning in warnings),
            table(["rejected", "why"], refused) if refused else "",
            table(["job", "this run did", "why"], done) if done else "This run had nothing to do.",
            _table(jobs, (), REASON),
        ]
    )
    return _cut(text, text.encode()[:SUMMARY_LIMIT].decode(errors="ignore"))


# --- before the merge ----------------------------------------------------------------------------

WILLS = {  # what needs somebody first: sign, for one, for several
    Will.REJECT: ("⛔", "cannot run", "cannot run"),
    Will.HOLD: ("⏸️", "does not run", "do not run"),
    Will.DEPENDS: ("❔", "depends", "depend"),
    Will.RUN: ("▶️", "runs", "run"),
    Will.CANCEL: ("🚫", "is cancelled", "are cancelled"),
    Will.END: ("⏹️", "is ended", "are ended"),
    Will.GO_ON: ("🔄", "goes on", "go on"),
    Will.NOTHING: ("➖", "stays as it is", "stay as they are"),
}
CHANGES = {
    Change.ADDED: "new",
    Change.CHANGED: "changed",
    Change.REMOVED: "removed",
    Change.MODE: "same bytes",
    Change.CATALOG: "same script, other catalog",
}
CONDITIONAL = "_How these jobs stand on the cluster is not known here: each case is told._"


ONLY_THIS = (
    "_This preview is for commit {} only. It does not cover a later push that has no preview of its"
    " own, for example because of a conflict or `[skip ci]`, or another base branch._"
)
OLD_GIT = (
    "_Merged file by file, because git is older than 2.38 here: renamed files, and files that both"
    " sides changed, may turn out differently._"
)
ELSEWHERE = "The cluster follows the branch {}: merging into {} starts nothing."


def preview(preview: Preview, *, cluster: str, run_url: str) -> str:
    """Return what merging a pull request will do: a verdict, a row per job, what to correct."""
    rows = sorted(preview.rows, key=lambda row: (list(WILLS).index(row.will), row.ref))
    depends = any(row.will is Will.DEPENDS for row in rows)
    head = [
        f"### {_foreseen(preview, rows)}{_commit(preview.commit)}",
        _about(cluster, preview.as_of or "", "", run_url),
        _merged_into(preview),
        _conflicts(preview),
        *map(_disabled, preview.disabled),
        CONDITIONAL if depends and not preview.as_of and not preview.elsewhere else "",
        OLD_GIT if preview.by_file else "",
    ]
    lines = [[f"{name(str(row.ref))} <br>{CHANGES[row.change]}", _will(row)] for row in rows]
    jobs = table(["job", "when merged"], lines) if lines and not preview.elsewhere else ""
    found = sorted(preview.all_findings, key=lambda finding: (finding.severity, finding))
    told = [_finding(finding) for finding in found if not _is_told(finding, preview)]
    more = f"_There is more to say than fits here: see the {link('run', run_url)}._"
    end = ONLY_THIS.format(code(preview.commit[:7])) if preview.commit else ""
    least = _joined([*head, more, end, jobs])
    catalog = _catalog(preview.catalog)
    texts = (
        _joined([*head, jobs, *catalog, *told, _runs_with(rows), end]),
        _joined([*head, jobs, *catalog, *told, end]),
        _cut(least, least[: LIMIT - 100]),
    )
    return next(text for text in texts if len(text) <= LIMIT)


def preview_failed(commit: str, why: str, *, cluster: str, run_url: str) -> str:
    """Return what stands in place of a preview that could not be made."""
    head = f"### ⚠️ There is no preview{_commit(commit)}"
    about = _about(cluster, "", "", run_url)
    said = f"It could not be made: {_worded(secrets.redact(why))}"
    then = "An earlier preview here was for an earlier commit. Push again, or rerun the workflow."
    return _joined([head, about, said, then])


def not_previewed(commit: str, refs: Sequence[str]) -> str:
    """Return that what was merged is not what the preview showed; '' where it is."""
    if not refs:
        return ""
    return f"⚠️ What ran is not what the preview of commit {code(commit[:7])} showed: {_some(refs)}."


def _commit(commit: str) -> str:
    return f" · commit {code(commit[:7])}" if commit else ""


def _merged_into(preview: Preview) -> str:
    if not preview.base:
        return ""
    branch = f"{code(preview.into)} at " if preview.into else ""
    return f"Commit {code(preview.commit[:7])} merged into {branch}{code(preview.base[:7])}."


DISABLED = {  # by GitHub's word
    "disabled_inactivity": "GitHub disables workflows that have a schedule after 60 days without"
    " activity in a public repository",
    "disabled_fork": "GitHub disables workflows that have a schedule in a new fork",
    "disabled_manually": "somebody disabled it",
}


def _disabled(one: Disabled) -> str:
    title, sign = one.workflow.partition(".")[0], "⛔" if one.starts else "⚠️"
    what = "A merge starts nothing" if one.starts else "Results are recorded at the next merge only"
    why = DISABLED.get(one.state, f"GitHub reports {code(one.state)}")
    then = " Then run it once to catch up." if one.starts else ""
    return (
        f"{sign} **{what}**: the workflow {code(one.workflow)} is disabled ({why}).{BREAK}Anyone"
        f" with write access can enable it: *Actions → {plain(title)} → Enable workflow*, or"
        f" {code(f'gh workflow enable {one.workflow}')}.{then}"
    )


def _conflicts(preview: Preview) -> str:
    if not preview.conflicts:
        return ""
    return (
        f"⛔ **Conflicts**: {_some(preview.conflicts)}{BREAK}The base branch changed them"
        " too. Merge it into your branch and resolve the conflicts. Until then the files are shown"
        " as your branch has them."
    )


def _is_told(finding: Finding, preview: Preview) -> bool:
    """Tell whether a row of the comment says it already."""
    changes = finding.code == "catalog" and finding.severity is Severity.WARNING
    return finding.code == "copy" or (changes and bool(preview.catalog))


def _catalog(changes: Sequence[RowChange]) -> Iterator[str]:
    """Yield what a change of the catalog changes, and for which jobs."""
    if not changes:
        return
    yield f"#### ⚠️ The catalog changes for {', '.join(code(c.protocol) for c in changes)}"
    lines = [
        [code(one.protocol), plain(setting.key), _value(setting.before), _value(setting.after)]
        for one in changes
        for setting in one.settings
    ]
    yield table(["protocol", "setting", "before", "after"], lines)
    used = [f"- {code(one.protocol)}: {_some(map(str, one.jobs))}" for one in changes if one.jobs]
    words = "Later attempts of these jobs use the new settings; running attempts keep theirs:\n\n"
    yield words + "\n".join(used) if used else "No job on the branch uses it yet."


def _some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    found = list(names)
    more = len(found) - NAMED
    return ", ".join(map(name, found[:NAMED])) + (f" and {more} more" if more > 0 else "")


def _value(text: str | None) -> str:
    if not text:
        return "–" if text is None else "empty"
    shown, at, digest = text.partition("@sha256:")
    return f"{name(shown)} <br>{code(f'sha256:{digest[:12]}…')}" if at else name(text)


def _foreseen(preview: Preview, rows: Sequence[Foreseen]) -> str:
    if preview.conflicts:
        files = len(preview.conflicts)
        return f"⛔ Cannot be merged: {files} file{'s' * (files > 1)} in conflict"
    if preview.elsewhere:
        return f"➖ {ELSEWHERE.format(code(preview.follows), code(preview.into))}".rstrip(".")
    if preview.switched_off:
        return "⛔ When merged, nothing starts: the workflow that does it is disabled"
    if preview.nothing_starts:
        return f"⛔ When merged, no job starts until {code(SITE_FILE)} is corrected"
    if not rows:
        none = "➖ Merging changes no job"
        if preview.catalog:
            none = "⚠️ Merging changes the catalog and starts no job"
        return "⛔ A file cannot be used" if preview.rejected else none
    counts: list[str] = []
    for will, (_, one, several) in WILLS.items():
        if number := sum(row.will is will for row in rows):
            jobs = "" if counts else " job" if number == 1 else " jobs"
            counts.append(f"{number}{jobs} {one if number == 1 else several}")
    sign = "⛔" if preview.rejected else WILLS[rows[0].will][0]
    return f"{sign} When merged: {', '.join(counts)}"


def _will(row: Foreseen) -> str:
    sign, words, _ = WILLS[row.will]
    return f"{sign} **{words}** · {_worded(row.why)}"


def _finding(finding: Finding) -> str:
    sign = "⛔" if finding.severity is Severity.ERROR else "⚠️"
    place = _place(finding.path, finding.line)
    return f"{sign} {place}: {_worded(finding.message)}{_instead(finding.fix, 'Write instead:')}"


def _runs_with(rows: Iterable[Foreseen]) -> str:
    lines = [[name(str(row.ref)), " <br>".join(_settings(row))] for row in rows if row.image]
    return folded("What they run with", "", table(["job", "runs with"], lines)) if lines else ""


def _settings(row: Foreseen) -> Iterator[str]:
    image, _, digest = row.image.partition("@")
    yield f"image {name(image)}" + (f" ({code(digest[:19])})" if digest else "")
    yield f"directory {name(_directory(str(row.ref)))}"
    yield f"limits {plain(row.limits)}"
    if row.secrets:
        yield f"credentials {', '.join(map(name, row.secrets))}, as far as the cluster has them"
    if row.service:
        yield "a service: goes on until its script is removed, its time is over or it is cancelled"
    if row.retries:
        yield f"up to {row.retries} more tries where trouble passes"
    if row.resume:
        yield "starts again where its machine fails"
