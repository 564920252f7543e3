"""What pull requests are told: how their jobs stand, and answers to comments that ask.

A loop beside `dispatch`, over the same cluster and `core.pulls.Pulls`. What cannot be told now is
a warning: it changes no attempt, and the next run makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dtp_action import dispatch
from dtp_action.core import addresses, commands, comment, ledger, planner, pulls, report, telling
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.commands import Command, Verb
from dtp_action.core.markdown import plain
from dtp_action.core.model import (
    Action,
    Desired,
    Entry,
    Hold,
    Kept,
    Note,
    Observed,
    Origin,
    Phase,
    Ref,
)
from dtp_action.core.pulls import Asked, History, Permission, Pulls, Say, Shown, Step, Write
from dtp_action.core.telling import Page, Previewed, Row
from dtp_action.dispatch import Cluster
from dtp_action.errors import (
    ConflictError,
    DtpError,
    StaleError,
    UnreadableError,
    UsageError,
)

MOST_TAILS = 20  # ends of logs in one comment
NEXT_LOOK = "within about 15 minutes"
NOT_NOW = (
    "It is not certain that this was done: the cluster could not be asked, or its answer was lost."
    " The run of the workflow says why, to those who look after it. Look with `/dtp status` in a"
    " while, and comment again if nothing came of it."
)


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who is told, and how: one repository's pull requests, for one cluster."""

    pulls: Pulls
    cluster: str  # its name in comments and statuses
    comment: bool = True
    logs: bool | None = None  # None: where the repository is not public
    repository_url: str = ""
    run_url: str = ""

    @property
    def context(self) -> str:
        """The name of the commit status."""
        return f"dtp / {self.cluster}"


@dataclass(frozen=True, kw_only=True)
class Told:
    """Where it was told, and what could not be told."""

    urls: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


# --- which pull request brought it? --------------------------------------------------------------


MOST_ASKED = 50  # commits that one run asks about again, and answers that it writes down


class Origins:
    """Where scripts came from: git says which commit brought them, GitHub which pull request.

    What was answered once is known. Where GitHub does not answer no pull request is known, and
    `warnings` says why.
    """

    def __init__(
        self,
        *,
        history: Callable[[Iterable[str]], History],
        commit: str,
        branch: str,
        pulls: Pulls | None,
        line: Callable[[Iterable[str]], Sequence[Step]] = lambda _commits: (),
    ) -> None:
        self.warnings: list[str] = []
        self._history = history
        self._commit = commit
        self.branch = branch
        self._pulls = pulls
        self._line_to = line
        self._line: Sequence[Step] = ()  # as far down as it was needed
        self._brought: dict[str, str | None] = {}  # path to commit
        self._heard: dict[str, Origin] = {}  # by commit

    def __call__(self, refs: Iterable[Ref]) -> dict[Ref, Origin]:
        """Return where the scripts came from that jobs have now."""
        of = list(refs)
        found = self.of_paths(ref.path for ref in of)
        return {ref: found[ref.path] for ref in of}

    def of_paths(self, paths: Iterable[str]) -> dict[str, Origin]:
        """Return where files came from."""
        wanted = list(paths)
        self._ask(dict.fromkeys(self._commits(wanted) - self._heard.keys(), pulls.YOUNG))
        return {path: self._of(self._brought[path]) for path in wanted}

    def _of(self, sha: str | None) -> Origin:
        """Return what is known of a commit; of one beyond the clone nothing can be learnt."""
        if sha is None:
            return Origin(commit=self._commit, asked=True)
        return self._heard.get(sha, Origin(commit=sha))

    def of_commits(
        self, ages: Mapping[str, timedelta], paths: Iterable[str] = ()
    ) -> dict[str, Origin]:
        """Return where commits came from that have been on the branch for so long, at least.

        What GitHub left open is asked again, together with what is to be asked of these paths.
        """
        again = {sha: age for sha, age in ages.items() if not self._of(sha).asked}
        new = self._commits(paths) - self._heard.keys()
        self._ask(dict.fromkeys(new, pulls.YOUNG) | again)
        return {sha: self._of(sha) for sha in ages}

    def learn(self, origins: Iterable[Origin]) -> None:
        """Take in what was asked before: GitHub need not be asked of these commits again."""
        self._heard |= {origin.commit: origin for origin in origins if origin.asked}

    def lately(self, paths: Iterable[str], now: datetime, told: Container[str]) -> list[str]:
        """Return the paths that came to the branch lately, or by a commit among `told`."""
        wanted = list(paths)
        self._bring(wanted)
        since = (now - telling.KEPT_TRUE).timestamp()
        late = {step.sha for step in self._line if step.committed >= since}
        return [path for path in wanted if (sha := self._brought[path]) in late or sha in told]

    def _commits(self, paths: Iterable[str]) -> set[str]:
        wanted = list(paths)
        self._bring(wanted)
        return {sha for path in wanted if (sha := self._brought[path])}

    def _bring(self, paths: Iterable[str]) -> None:
        new = [path for path in paths if path not in self._brought]
        if new:
            history = self._history(new)
            self._brought |= {path: history.commits.get(path) for path in new}
            self._line = max(self._line, history.line, key=len)  # all begin with the same commit

    def _ask(self, ages: Mapping[str, timedelta]) -> None:
        if not self._pulls or not ages:
            return
        try:
            candidates = self._pulls.candidates(ages)
        except DtpError as error:
            self.warnings.append(_warning(error))
            return
        if missing := ages.keys() - {step.sha for step in self._line}:
            self._line = max(self._line, self._line_to(missing), key=len)
        self._heard |= {
            sha: pulls.origin(sha, self.branch, candidates[sha], self._line, age)
            for sha, age in ages.items()
        }


def notes(
    desired: Desired, observed: Observed, policy: planner.Policy, origins: Origins
) -> list[tuple[Origin, Note]]:
    """Return what the branch asks for lately and does not run, with where it came from."""
    planned = planner.plan(desired, observed, replace(policy, only=None))
    found = telling.notes(desired, observed, planned)
    late = _lately((note.path for note in found), observed, origins)
    whence = origins.of_paths(late)
    return [(whence[note.path], note) for note in found if note.path in whence]


def _lately(paths: Iterable[str], observed: Observed, origins: Origins) -> list[str]:
    """Return the paths that came lately, or by a commit of which a comment is kept true."""
    looked_after = telling.looked_after(observed)
    brought = (entry.origin for entry in observed.entries)
    told = {origin.commit for origin in brought if origin.pull_request in looked_after}
    return origins.lately(paths, observed.now, told)


def with_origins(observed: Observed, desired: Desired, origins: Origins) -> Observed:
    """Return the look with what GitHub could not say when attempts were recorded.

    Asked is by the commit that was recorded, whatever the branch says now, and in one request with
    what the notes need.
    """
    origins.learn(entry.origin for entry in observed.entries)
    ages = telling.unattributed(observed, MOST_ASKED)
    late = _lately(telling.not_run(desired, observed), observed, origins)
    known = origins.of_commits(ages, late)
    return replace(
        observed,
        entries=tuple(
            replace(entry, origin=known.get(entry.origin.commit, entry.origin))
            for entry in observed.entries
        ),
    )


def attributed(work: Work, observed: Observed) -> Observed:
    """Return the look with where attempts came from, as is known by now; the ledger keeps it.

    What cannot be asked or kept is a warning, and made up for by the next run.
    """
    if work.audience is None:
        return observed
    try:
        seen = with_origins(observed, work.desired, work.origins)
    except DtpError as error:  # of git
        work.origins.warnings.append(_warning(error))
        return observed
    kept: dict[str, Entry] = {}
    for before, entry in zip(observed.entries, seen.entries, strict=True):
        if before.origin.asked == entry.origin.asked or len(kept) == MOST_ASKED:
            continue
        try:
            kept[entry.name] = work.cluster.attribute(before, entry.origin)
        except (StaleError, UnreadableError):  # somebody wrote: the next run finds out
            continue
        except DtpError as error:
            work.origins.warnings.append(_warning(error))
            break
    return replace(seen, entries=tuple(kept.get(entry.name, entry) for entry in seen.entries))


# --- after a run ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a command works on: a cluster, and what one branch asks of it."""

    cluster: Cluster
    settings: ClusterSettings
    desired: Desired
    policy: planner.Policy
    line: planner.Line
    origins: Origins
    audience: Audience | None = None  # None: nobody is told


def who_rules(work: Work, observed: Observed) -> tuple[str, ...]:
    """Return that another commit rules and what follows from it; nothing where ours does."""
    card = observed.identity
    if card is None or planner.rules(observed, work.desired.commit):
        return ()
    followed = (
        f"the cluster follows commit {card.commit[:12]}, not {work.desired.commit[:12]}: this run"
        " started and stopped nothing for the branch, it only recorded results. If the branch was"
        " force-pushed, run: dtp dispatch --rewritten"
    )
    return (followed, *dict.fromkeys(work.origins.warnings))


def everybody(work: Work, observed: Observed) -> Told:
    """Tell all that is to be told of a look: how jobs stand, and what does not run.

    The look is one that is `attributed`. Where a newer commit rules, its runs tell: what this one
    knows of the branch is not true now.
    """
    if followed := who_rules(work, observed):
        return Told(warnings=followed)
    if work.audience is None:
        return Told()
    try:
        seen = dispatch.with_progress(work.cluster, observed)
        held = notes(work.desired, seen, work.policy, work.origins)
        told = after_run(work.cluster, work.audience, seen, held)
    except DtpError as error:  # of the cluster: jobs are not hurt by what cannot be told now
        told = Told(warnings=(_warning(error),))
    return replace(told, warnings=tuple(dict.fromkeys((*work.origins.warnings, *told.warnings))))


def after_run(
    cluster: Cluster,
    audience: Audience,
    observed: Observed,
    notes: Iterable[tuple[Origin, Note]] = (),
) -> Told:
    """Bring comments and statuses up to what is so, and mention who waits for an end."""
    pages = telling.pages(observed, notes) if audience.comment else ()
    by_commit = telling.commits(observed)
    if not pages and not by_commit:
        return Told()
    numbers = [page.number for page in pages]
    try:
        shown = audience.pulls.shown(numbers, by_commit, audience.context)
    except DtpError as error:
        return Told(warnings=(_warning(error),))
    teller = _Teller(cluster=cluster, audience=audience, observed=observed, shown=shown)
    urls = {page.number: teller.tell(page.discreet() if shown.public else page) for page in pages}
    for commit, entries in by_commit.items():
        teller.mark(commit, entries, urls)
    told = [url for page in pages if (url := urls[page.number])]
    return Told(urls=tuple(told), warnings=tuple(dict.fromkeys(teller.warnings)))


@dataclass(kw_only=True)
class _Teller:
    """One round of telling."""

    cluster: Cluster
    audience: Audience
    observed: Observed
    shown: Shown
    warnings: list[str] = field(default_factory=list)

    @property
    def logs(self) -> bool:
        """Whether ends of logs may be shown."""
        return _shows_logs(self.audience, self.shown)

    def tell(self, page: Page) -> str:
        """Write what the page's pull request has not been told; return its comment's address."""
        name = self.audience.cluster
        if page.number not in self.shown.comments:
            return ""  # it is not there any more
        url = _address(page, self.shown, name)
        if page.adopted and not url:
            return ""
        if not telling.says(page, self.shown, name):
            say = telling.status(page, self._text(page), name, self.shown)
            url = self._write(pulls.sticky(say, self.shown)) or url
        ended = telling.unmentioned(page, self.shown, name)
        if ended:
            rows = _fit(report.rows(ended, self.observed), self.shown)
            text = comment.mention(rows, author=page.author, cluster=name, comment_url=url)
            self._write(pulls.once(telling.mention(page, ended, text, name), self.shown))
        self._write(telling.repeated(page, self.shown, name))
        return url

    def mark(self, commit: str, entries: Iterable[Entry], urls: Mapping[int, str]) -> None:
        """Set the status of a commit."""
        told = list(entries)
        rows = _fit(report.rows(telling.last_of(told), self.observed), self.shown)
        found = (urls.get(entry.origin.pull_request or 0) for entry in told)
        url = next(filter(None, found), "")
        status = telling.commit_status(rows, self.audience.context, url)
        self._write(pulls.mark(commit, status, self.shown, self.audience.run_url))

    def _text(self, page: Page) -> str:
        kept = dict(_kept(self.cluster, page)) if self.logs else {}
        return comment.status(
            list(page.rows),
            page.notes,
            {name: one.log for name, one in kept.items()},
            arrived={name: one.arrived for name, one in kept.items() if one.arrived},
            cluster=self.audience.cluster,
            as_of=ledger.stamp(self.observed.now) if page.open else _last_change(page),
            next_look=NEXT_LOOK if page.open else "",
            logs=self.logs,
            repository_url=self.audience.repository_url,
            run_url=self.audience.run_url if page.open else "",
        )

    def _write(self, writes: Iterable[Write]) -> str:
        """Carry out the steps; return the address of the comment written, or ''."""
        url = ""
        for write in writes:
            try:
                url = self.audience.pulls.write(write) or url
            except DtpError as error:
                self.warnings.append(_warning(error))
        return url


def _fit(rows: list[Row], shown: Shown) -> list[Row]:
    """Return rows as the readers of this repository may see them."""
    return report.discreet(rows) if shown.public else rows


def _shows_logs(audience: Audience, shown: Shown) -> bool:
    return not shown.public if audience.logs is None else audience.logs


def _address(page: Page, shown: Shown, cluster: str) -> str:
    marker = pulls.marker("status", cluster)
    ours = [c.url for c in shown.comments[page.number] if c.body.startswith(marker)]
    return ours[0] if ours else ""


def _last_change(page: Page) -> str:
    """Return when the last of a page's jobs ended; '' where none has."""
    return max((row["finished"] or row["created"] for row in page.rows), default="")


def _kept(cluster: Cluster, page: Page) -> Iterator[tuple[str, Kept]]:
    """Yield what was kept of logs and of what arrived, bad ends first."""
    ended = [row for row in page.rows if row["finished"]]
    ended.sort(key=lambda row: row["phase"] == Phase.SUCCEEDED and not row["doubts"])
    for row in ended[:MOST_TAILS]:
        yield row["name"], cluster.kept(row["name"])


def _warning(error: DtpError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message


# --- before the merge ----------------------------------------------------------------------------


def before_merge(audience: Audience, number: int, text: str, about: Previewed) -> Told:
    """Bring the comment of an open pull request up to what merging it will do.

    Previews of what it would have done to another branch are removed.
    """
    say = telling.proposal(number, text, audience.cluster, about)
    try:
        shown = audience.pulls.shown([number], (), audience.context)
        old = telling.outdated(number, about.into, shown, audience.cluster)
        writes = [*pulls.sticky(say, shown), *old] if audience.comment else []
        urls = [audience.pulls.write(write) for write in writes]
    except DtpError as error:
        return Told(warnings=(_warning(error),))
    return Told(urls=tuple(filter(None, urls)))


# --- answers -------------------------------------------------------------------------------------


Begin = Callable[[], tuple[Work, Observed]]


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """What somebody asks for, and may ask for as far as GitHub can tell.

    `parts` are the commands in order; of one that is not to be carried out, the answer to it.
    """

    parts: tuple[Command | str, ...]
    permission: Permission


def admit(audience: Audience, node: str, *, branch: str) -> Admitted | Told:
    """Answer a comment as far as this needs no cluster: whoever may not ask hears why.

    What is left for `answer`, which asks GitHub again, is returned as admitted.
    """
    question = _question(audience, node, branch)
    if question is None:
        return Told()
    found = _considered(audience, question)
    if any(isinstance(part, Command) for part in found.parts):
        return found
    answers = [str(part) for part in found.parts]
    return Told(urls=(question.answer(audience, answers),))


def answer(audience: Audience, node: str, *, branch: str, begin: Begin) -> Told:
    """Do what a comment asks for, if its writer may, and say what came of it. Once a comment.

    `begin` opens the cluster: it is not touched before it is certain that somebody may ask.
    """
    question = _question(audience, node, branch)
    if question is None:
        return Told()
    answering = _Answering(
        audience=audience, asked=question.asked, shown=question.shown, begin=begin
    )
    try:
        answers = answering.carry_out(_considered(audience, question))
    except DtpError:
        sorry = pulls.marker("unanswered", audience.cluster, str(question.asked.id))
        say = Say(number=question.number, marker=sorry, text=NOT_NOW)
        for write in pulls.once(say, question.shown):
            audience.pulls.write(write)
        raise
    url = question.answer(audience, answers)
    if answering.changed is None:
        return Told(urls=(url,))
    told = everybody(*answering.changed)
    return replace(told, urls=(url, *told.urls))


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A comment that asks for something, in words or not, and has no answer yet."""

    asked: Asked
    number: int  # of the pull request
    request: commands.Request
    marker: str
    shown: Shown

    def answer(self, audience: Audience, answers: Sequence[str]) -> str:
        """Write the one comment that answers every command; return its address."""
        text = comment.answer(self.request, answers)
        return audience.pulls.write(Say(number=self.number, marker=self.marker, text=text))


def _question(audience: Audience, node: str, branch: str) -> _Question | None:
    """Return what a comment asks of this branch, and show that it was seen."""
    asked = audience.pulls.asked(node)
    if asked is None or asked.number is None or asked.base != branch:
        return None
    request = commands.parse(asked.body) if asked.human and not asked.edited else None
    if request is None:
        return None
    answered = pulls.marker("answer", audience.cluster, str(asked.id))
    shown = audience.pulls.shown([asked.number], (), audience.context)
    if any(c.body.startswith(answered) for c in shown.comments.get(asked.number, ())):
        return None
    with suppress(DtpError):  # a courtesy
        audience.pulls.acknowledge(asked)
    return _Question(
        asked=asked, number=asked.number, request=request, marker=answered, shown=shown
    )


def _considered(audience: Audience, question: _Question) -> Admitted:
    """Return what is to be carried out, and the answers for which no cluster is needed."""
    asked, found = question.asked, question.request.commands
    needs = any(isinstance(one, Command) and one.verb is not Verb.HELP for one in found)
    permission = audience.pulls.permission(asked.author or "") if needs else Permission.NONE
    parts = tuple(_part(one, asked, permission) for one in found)
    return Admitted(parts=parts, permission=permission)


def _part(command: Command | str, asked: Asked, permission: Permission) -> Command | str:
    """Return a command that may be carried out; else the answer to it."""
    if not isinstance(command, Command):
        return f"{command}."
    if command.verb is Verb.HELP:
        return ""  # the list stands below all answers
    why = commands.refusal(command, asked, permission)
    return f"Not done: {why}" if why else command


@dataclass(kw_only=True)
class _Answering:
    """The commands of one comment on the way to their answers."""

    audience: Audience
    asked: Asked
    shown: Shown
    begin: Begin
    changed: tuple[Work, Observed] | None = None  # the state after a retry or cancel

    def carry_out(self, admitted: Admitted) -> list[str]:
        """Return the answer to each command, in order.

        Raises what the cluster raises: the comment may be sent again, and what was done by then is
        known by its request, which is the same whenever the comment is read.
        """
        if not any(isinstance(part, Command) for part in admitted.parts):
            return [str(part) for part in admitted.parts]
        work, seen = self.begin()
        seen = attributed(work, seen)
        answers: list[str] = []
        for at, part in enumerate(admitted.parts):
            work, seen = self.changed or (work, seen)
            request = f"comment-{self.asked.id}" + (f"-{at + 1}" if at else "")
            answers.append(
                self._one(part, admitted.permission, work, seen, request)
                if isinstance(part, Command)
                else part
            )
        return answers

    def _one(
        self, command: Command, permission: Permission, work: Work, seen: Observed, request: str
    ) -> str:
        own = _own(command, work, seen, self.asked.number)
        if why := commands.foreign(command, permission, own):
            return f"Not done: {why}"
        try:
            return self._done(command, work, seen, request)
        except (ConflictError, UsageError) as error:
            return self._not_done(_warning(error))

    def _done(self, command: Command, work: Work, seen: Observed, request: str) -> str:
        match command.verb, command.ref:
            case Verb.STATUS, ref:
                return self._status(work, dispatch.with_progress(work.cluster, seen), ref)
            case Verb.LOGS, Ref() as ref:
                return self._log(work, seen, ref, command.lines)
            case Verb.FILES, Ref() as ref:
                return self._files(work, seen, ref)
            case Verb.RETRY, Ref() as ref:
                seen = dispatch.with_pods(work.cluster, seen)
                opening = planner.retry(ref, work.desired, seen, work.policy, request)
                return self._apply(work, seen, ref, opening)
            case Verb.CANCEL, Ref() as ref:
                if not seen.of(ref) and (note := _not_run(work, seen, ref)):
                    planner.refuse_to_cancel(note)
                by = self.asked.author or ""
                return self._apply(
                    work, seen, ref, planner.cancel(ref, seen, by=by, request=request)
                )
        raise AssertionError("commands.parse gives a ref where one is needed")

    def _apply(self, work: Work, seen: Observed, ref: Ref, action: Action | None) -> str:
        done = dispatch.apply(work.cluster, action, seen) if action else []
        after = attributed(work, dispatch.look(work.cluster))
        self.changed = work, after
        if done and isinstance(done[0], Hold):
            return self._not_done(done[0].reason)
        return comment.done_reply(_fit(report.jobs(after, refs=[ref]), self.shown)[0])

    def _not_done(self, why: str) -> str:
        return f"Not done: {plain(addresses.hide(why) if self.shown.public else why)}"

    def _status(self, work: Work, seen: Observed, ref: Ref | None) -> str:
        if ref:
            held = tuple(filter(None, [_not_run(work, seen, ref)]))
            wanted = [ref] if held else [_last(seen, ref).ref]
        else:
            found = notes(work.desired, seen, work.policy, work.origins)
            held = tuple(one for origin, one in found if origin.pull_request == self.asked.number)
            wanted = _brought(seen, self.asked.number)
        if self.shown.public:
            held = tuple(map(telling.discreet, held))
        return comment.status(
            _fit(report.jobs(seen, refs=wanted), self.shown) if wanted else [],
            held,
            {},
            cluster=self.audience.cluster,
            as_of=ledger.stamp(seen.now),
            next_look="",
            logs=True,
            repository_url=self.audience.repository_url,
            run_url="",
        )

    def _log(self, work: Work, seen: Observed, ref: Ref, lines: int) -> str:
        entry, row = self._attempt(work, seen, ref)
        if not _shows_logs(self.audience, self.shown):
            return comment.log_reply(row, None)
        if entry.outcome:
            text = work.cluster.kept(entry.name).log
        else:
            text = dispatch.read_log(work.cluster, entry, seen).log
        return comment.log_reply(row, "\n".join(text.split("\n")[-lines:]))

    def _files(self, work: Work, seen: Observed, ref: Ref) -> str:
        entry, row = self._attempt(work, seen, ref)
        shown = _shows_logs(self.audience, self.shown)
        found = work.cluster.kept(entry.name).arrived if entry.outcome and shown else None
        return comment.files_reply(row, found, shown=shown)

    def _attempt(self, work: Work, seen: Observed, ref: Ref) -> tuple[Entry, Row]:
        """Return a job's last attempt and its row. Raises ConflictError where it has not run."""
        note = None if seen.of(ref) else _not_run(work, seen, ref)
        if note:
            raise ConflictError(f"{ref} has not run, it is {note.state}: {note.reason}")
        (row,) = _fit(report.jobs(seen, refs=[ref]), self.shown)
        return _last(seen, ref), row


def _own(command: Command, work: Work, seen: Observed, number: int | None) -> set[Ref]:
    """Return the jobs of a pull request; to run, those whose bytes on the branch are its."""
    again = command.ref and (command.verb is Verb.RETRY or not seen.of(command.ref))
    if not again or command.ref not in work.desired.wanted:
        return set(_brought(seen, number))
    whence = work.origins([command.ref])[command.ref]
    return {command.ref} if whence.pull_request == number else set()


def _not_run(work: Work, seen: Observed, ref: Ref) -> Note | None:
    """Return why the script of a job does not run as it is on the branch; None where it does."""
    planned = planner.plan(work.desired, seen, work.policy)
    found = telling.not_started(work.desired, seen, planned)
    return next((note for note in found if note.ref == str(ref)), None)


def _brought(seen: Observed, number: int | None) -> list[Ref]:
    """Return the jobs whose last attempt a pull request brought."""
    last = {e.ref: e for e in sorted(seen.entries, key=lambda entry: entry.attempt)}
    return [ref for ref, entry in last.items() if entry.origin.pull_request == number]


def _last(seen: Observed, ref: Ref) -> Entry:
    found = seen.of(ref)
    if not found:
        planner.refuse_unreadable(ref, seen)
        raise UsageError(f"no job {ref} has run yet")
    return found[-1]
