"""GitHub as the ports `core.pulls.Pulls` and `core.issues.Issues`, over PyGithub.

Translates, and decides nothing.

PyGithub's requester is used, not its objects (those fetch before they write), and without its
retries: they write twice after a lost answer, and wait without bound. One loop tries here, within
one patience for the whole run, and looks before it writes again.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import github
import requests

from dtp_action import __version__
from dtp_action.core import brief
from dtp_action.core.issues import Close, Issue, Open, Rewrite, Step
from dtp_action.core.model import Place
from dtp_action.core.pulls import (
    Asked,
    Candidate,
    Comment,
    CommitStatus,
    Edit,
    Mark,
    OpenPull,
    Permission,
    Remove,
    Say,
    Shown,
    State,
    WorkflowRun,
    Write,
)
from dtp_action.errors import GitHubRefusedError, UnavailableError

T = TypeVar("T")
Wire = dict[str, Any]
PUBLIC = "https://api.github.com"
PATIENCE = 120.0  # seconds that GitHub may cost one run, waits included
TIMEOUT = 15  # seconds without a byte, each try
TRIES = 5
FIRST_PAUSE = 1.0
SECONDARY_PAUSE = 60.0  # what GitHub asks for where a secondary limit names no time
COMMITS, PULLS = 50, 50  # in one query
AHEAD_PAUSES = (2.0, 4.0)  # seconds
PLACES = {"IDENTICAL": Place.NEWEST, "BEHIND": Place.BEHIND}
DONE = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)
PACKED_LIMIT, LIMIT = 16 * 2**20, 64 * 2**20  # bytes of a status document, and of its artifact

LINKED = """... on Commit { associatedPullRequests(first: 10) { nodes {
  number merged baseRefName headRefOid mergeCommit { oid }
  author { __typename login } mergedBy { __typename login } baseRepository { nameWithOwner }
  commits(last: 100) { nodes { commit { authoredDate } } }
} } }"""
COMMENTS = """nodes { fullDatabaseId viewerDidAuthor body url }
  pageInfo { hasNextPage endCursor }"""
ASKED = """query($id: ID!) { node(id: $id) { ... on IssueComment {
  fullDatabaseId body lastEditedAt author { __typename login } repository { nameWithOwner }
  pullRequest { number merged baseRefName author { __typename login } }
} } }"""
OPEN = """pullRequests(headRefName: $branch, states: OPEN, first: 100,
  orderBy: { field: UPDATED_AT, direction: DESC }) {
  nodes { number baseRefName headRefOid author { __typename login } } }"""
ISSUES = """orderBy: { field: CREATED_AT, direction: ASC }) {
  nodes { number body state url viewerDidAuthor } pageInfo { hasNextPage endCursor } }"""
LAST_COMMENT = "comments(last: 1) { nodes { body url viewerDidAuthor } }"

LOOK = "contents: read, pull-requests: read, statuses: read"
COMMENT = "pull-requests: write"
ISSUE = "issues: write"
ARTIFACTS = "actions: read"


class NotNowError(Exception):
    """No usable answer, or one that asks to wait. `sent`: it may have taken effect."""

    def __init__(self, why: str, *, pause: float = 0.0, sent: bool = True) -> None:
        super().__init__(why)
        self.pause = pause
        self.sent = sent


class MissingError(GitHubRefusedError):
    """404: not there, or not to be seen with this token."""


class GitHubPulls:
    """One repository on GitHub."""

    def __init__(
        self,
        *,
        repository: str,
        token: str,
        api_url: str = PUBLIC,
        patience: float = PATIENCE,
        timeout: int = TIMEOUT,
        between_requests: float = 0.25,
        between_writes: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.repository = repository
        self._api_url = api_url
        self._timeout = timeout
        self._left = patience
        self._between_writes = between_writes
        self._next_write = clock()
        self._clock = clock
        self._sleep = sleep
        self._requester = github.Github(
            auth=github.Auth.Token(token),
            base_url=api_url,
            user_agent=f"dtp-requests/{__version__}",
            timeout=timeout,
            retry=None,
            seconds_between_requests=between_requests,
            seconds_between_writes=0,  # it takes queries for writes
        ).requester

    # --- looking ---

    def candidates(self, commits: Iterable[str]) -> dict[str, tuple[Candidate, ...]]:
        found: dict[str, tuple[Candidate, ...]] = {}
        for shas in _chunks(sorted(set(commits)), COMMITS):
            parts = [f'c{i}: object(oid: "{sha}") {{ {LINKED} }}' for i, sha in enumerate(shas)]
            data = self._read("look up which pull requests brought commits", parts)
            for i, sha in enumerate(shas):
                linked = ((data[f"c{i}"] or {}).get("associatedPullRequests") or {}).get("nodes")
                ours = (pull for pull in linked or () if self._here(pull["baseRepository"]))
                found[sha] = tuple(_candidate(pull) for pull in ours)
        return found

    def shown(self, numbers: Iterable[int], commits: Iterable[str], context: str) -> Shown:
        comments: dict[int, tuple[Comment, ...]] = {}
        statuses: dict[str, CommitStatus] = {}
        public = True
        pages = [(number, "") for number in sorted(set(numbers))]
        shas = sorted(set(commits))
        name = json.dumps(context, ensure_ascii=False)
        while pages or shas:
            parts = ["visibility"]
            parts += [_comments(number, after) for number, after in pages[:PULLS]]
            parts += [_status(i, sha, name) for i, sha in enumerate(shas[:COMMITS])]
            data = self._read("read comments and statuses", parts)
            public = data["visibility"] == "PUBLIC"
            more = []
            for number, _ in pages[:PULLS]:
                if page := (data[f"p{number}"] or {}).get("comments"):
                    ours = tuple(_comment(number, n) for n in page["nodes"] if n["viewerDidAuthor"])
                    comments[number] = comments.get(number, ()) + ours
                    if page["pageInfo"]["hasNextPage"]:
                        more.append((number, page["pageInfo"]["endCursor"]))
            for i, sha in enumerate(shas[:COMMITS]):
                there = ((data[f"c{i}"] or {}).get("status") or {}).get("context")
                if there and there["state"] in State.__members__:
                    statuses[sha] = _commit_status(context, there)
            pages, shas = more + pages[PULLS:], shas[COMMITS:]
        return Shown(comments=comments, statuses=statuses, public=public)

    def permission(self, login: str) -> Permission:
        path = f"/collaborators/{quote(login, safe='')}/permission"
        try:
            answer = self._rest(f"tell what {login} may do", "GET", path, needs="contents: read")
        except MissingError:
            return Permission.NONE
        return Permission(answer["permission"])

    def asked(self, node_id: str) -> Asked | None:
        node = self._query("read the comment", ASKED, {"id": node_id})["node"]
        if not node or not self._here(node["repository"]):
            return None
        pull = node["pullRequest"] or {}
        return Asked(
            id=int(node["fullDatabaseId"]),
            author=_login(node["author"]),
            human=(node["author"] or {}).get("__typename") == "User",
            edited=node["lastEditedAt"] is not None,
            body=node["body"],
            number=pull.get("number"),
            pull_author=_login(pull.get("author")),
            base=pull.get("baseRefName"),
            merged=bool(pull.get("merged")),
        )

    def place(self, commit: str, branch: str) -> Place:
        for pause in (*AHEAD_PAUSES, 0.0):
            data = self._read(
                f"tell where {commit} is on {branch}",
                ["ref(qualifiedName: $ref) { compare(headRef: $commit) { status } }"],
                ref=f"refs/heads/{branch}",
                commit=commit,
            )
            status = str(((data["ref"] or {}).get("compare") or {}).get("status"))
            if status != "AHEAD" or not pause:
                break
            self._sleep(pause)  # what answers may not have the push yet
        return PLACES.get(status, Place.OFF)

    def open_pulls(self, head: str, branch: str) -> tuple[OpenPull, ...]:
        does = "look for the open pull request"
        nodes = self._read(does, [OPEN], branch=branch)["pullRequests"]["nodes"]
        return tuple(
            OpenPull(number=one["number"], base=one["baseRefName"], author=_login(one["author"]))
            for one in nodes
            if one["headRefOid"] == head
        )

    def workflow_state(self, workflow: str) -> str | None:
        path = f"/actions/workflows/{quote(workflow, safe='')}"
        with contextlib.suppress(MissingError):
            found = self._rest(f"look for the workflow {workflow}", "GET", path, needs=ARTIFACTS)
            return str(found["state"])
        return None

    def runs(self, workflow: str) -> tuple[WorkflowRun, ...]:
        name = quote(workflow, safe="")
        path = f"/actions/workflows/{name}/runs?per_page=100&exclude_pull_requests=true"
        listed = self._rest(f"list the runs of {workflow}", "GET", path, needs=ARTIFACTS)
        return tuple(map(_run, listed["workflow_runs"]))

    def status_document(self, run: WorkflowRun, artifact: str) -> bytes | None:
        path = f"/actions/runs/{run.id}/artifacts?name={quote(artifact, safe='')}&per_page=100"
        listed = self._rest("list the artifacts", "GET", path, needs=ARTIFACTS)["artifacts"]
        ours = [one for one in listed if one["name"] == artifact and not one["expired"]]
        if not ours:
            return None
        newest = max(ours, key=lambda there: str(there["created_at"]))

        def once() -> bytes:
            path = f"/actions/artifacts/{newest['id']}/zip"
            headers, _ = self._send("GET", path, done=(HTTPStatus.FOUND,))
            return self._fetch(headers["location"])

        packed = self._ask(f"hand out the artifact {artifact}", ARTIFACTS, once)
        return _unpacked(packed, artifact)

    # --- writing ---

    def write(self, write: Write) -> str:
        match write:
            case Say():
                return self._say(write)
            case Edit(comment=comment, say=say):
                does = f"edit our comment on pull request #{say.number}"
                path = f"/issues/comments/{comment.id}"
                try:
                    return str(self._rest(does, "PATCH", path, {"body": say.body})["html_url"])
                except MissingError:  # deleted since we looked
                    return self._say(say)
            case Remove(comment=comment):
                does = f"delete our comment on pull request #{comment.number}"
                with contextlib.suppress(MissingError):
                    self._rest(does, "DELETE", f"/issues/comments/{comment.id}")
                return ""
            case Mark(commit=commit, status=status):
                body = {
                    "state": status.state.value,
                    "context": status.context,
                    "description": status.description,
                    **({"target_url": status.url} if status.url else {}),
                }
                does, path = f"set the status of {commit[:12]}", f"/statuses/{commit}"
                self._rest(does, "POST", path, body, needs="statuses: write")  # twice shows as once
                return ""

    def acknowledge(self, asked: Asked) -> None:
        path = f"/issues/comments/{asked.id}/reactions"
        self._rest("put 👀 on the comment", "POST", path, {"content": "eyes"})

    def _say(self, say: Say) -> str:
        def written() -> Wire | None:
            there = self.shown([say.number], (), "").comments.get(say.number, ())
            ours = (comment for comment in there if comment.body.startswith(say.marker))
            return next(({"html_url": comment.url} for comment in ours), None)

        does, path = f"comment on pull request #{say.number}", f"/issues/{say.number}/comments"
        return str(self._rest(does, "POST", path, {"body": say.body}, found=written)["html_url"])

    # --- the one issue ---

    def issues(self, marker: str) -> tuple[Issue, ...]:
        found: list[Issue] = []
        place = "first: 100"
        while place:
            parts = [f"issues({place}, {ISSUES}"]
            page = self._read("look for our issue", parts, needs=ISSUE)["issues"]
            ours = (node for node in page["nodes"] if node["viewerDidAuthor"])
            found += [_issue(node) for node in ours if node["body"].startswith(marker)]
            after = json.dumps(page["pageInfo"]["endCursor"])
            place = f"first: 100, after: {after}" if page["pageInfo"]["hasNextPage"] else ""
        return tuple(found)

    def keep(self, step: Step) -> str:
        match step:
            case Open(title=title, body=body):
                return self._open(title, body)
            case Rewrite(issue=issue, body=body):
                return self._amend(issue, {"body": body, "state": "open"})
            case Close(issue=issue, text=text):
                self._close_with(issue, text)
                return self._amend(issue, {"state": "closed", "state_reason": "completed"})

    def _open(self, title: str, body: str) -> str:
        def opened() -> Wire | None:
            there = self.issues(body.partition("\n")[0])[-1:]
            return next(({"html_url": one.url} for one in there if one.body == body), None)

        wire = {"title": title, "body": body}
        does = "open an issue"
        return str(self._rest(does, "POST", "/issues", wire, needs=ISSUE, found=opened)["html_url"])

    def _amend(self, issue: Issue, wire: Wire) -> str:
        does, path = f"change our issue #{issue.number}", f"/issues/{issue.number}"
        return str(self._rest(does, "PATCH", path, wire, needs=ISSUE)["html_url"])

    def _close_with(self, issue: Issue, text: str) -> None:
        def written() -> Wire | None:
            parts = [f"issue(number: {issue.number}) {{ {LAST_COMMENT} }}"]
            there = self._read("look for our comment", parts, needs=ISSUE)["issue"]["comments"]
            return next(
                (n for n in there["nodes"] if n["viewerDidAuthor"] and n["body"] == text), None
            )

        does, path = f"comment on our issue #{issue.number}", f"/issues/{issue.number}/comments"
        self._rest(does, "POST", path, {"body": text}, needs=ISSUE, found=written)

    # --- how ---

    def _here(self, repository: Wire | None) -> bool:
        """Tell whether it is this repository: forks share commits with it."""
        return str((repository or {}).get("nameWithOwner")).lower() == self.repository.lower()

    def _read(self, does: str, parts: Sequence[str], *, needs: str = LOOK, **given: str) -> Wire:
        """Return what a query about the repository finds; what is not there is None."""
        owner, _, name = self.repository.partition("/")
        variables = {"owner": owner, "name": name, **given}
        head = f"query({', '.join(f'${variable}: String!' for variable in variables)})"
        here = "repository(owner: $owner, name: $name, followRenames: false)"
        query = f"{head} {{ {here} {{ {' '.join(parts)} }} }}"
        return dict(self._query(does, query, variables, needs)["repository"])

    def _query(self, does: str, query: str, variables: Wire, needs: str = LOOK) -> Wire:
        def once() -> Wire:
            try:
                _, answer = self._requester.graphql_query(query, variables)
            except github.GithubException as error:
                answer = error.data
                if not _whole_but_for_missing(answer):
                    raise
            return dict(answer["data"])

        return self._ask(does, needs, once)

    def _rest(
        self,
        does: str,
        verb: str,
        path: str,
        body: Wire | None = None,
        *,
        needs: str = COMMENT,
        found: Callable[[], Wire | None] = lambda: None,
    ) -> Wire:
        return self._ask(does, needs, lambda: self._send(verb, path, body)[1], found)

    def _send(
        self, verb: str, path: str, body: Wire | None = None, *, done: Container[int] = DONE
    ) -> tuple[Wire, Wire]:
        """Make one request; return headers and body. PyGithub would take a redirect for done."""
        if verb != "GET":
            self._pace()
        url = f"/repos/{quote(self.repository)}{path}"
        status, headers, text = self._requester.requestJson(verb, url, input=body)
        answer = json.loads(text) if text.startswith("{") else {}
        if status not in done:
            raise github.GithubException(status, answer, headers)
        if text and not answer:
            raise ValueError(text)
        return headers, answer

    def _pace(self) -> None:
        """Keep writes apart: GitHub's secondary limits count those of a minute."""
        if (wait := self._next_write - self._clock()) > 0:
            self._sleep(wait)
        self._next_write = self._clock() + self._between_writes

    def _fetch(self, url: str) -> bytes:
        """Return a file that GitHub keeps on another host, which must not see the token.

        What is told of an error names no address: it opens the file to anybody.
        """
        host, ends = urlsplit(url).hostname, self._clock() + self._left
        content = bytearray()
        try:
            with requests.get(url, stream=True, timeout=self._timeout, auth=_bare) as answer:
                if answer.status_code != HTTPStatus.OK:
                    raise NotNowError(f"{host} answered HTTP {answer.status_code}")
                for piece in answer.iter_content(2**16):
                    content += piece
                    if len(content) > PACKED_LIMIT:
                        raise UnavailableError(f"{host} holds too large an artifact.")
                    if self._clock() > ends:
                        raise NotNowError(f"{host} is too slow")
        except requests.RequestException as error:
            raise NotNowError(f"{host}: {type(error).__name__}") from error
        return bytes(content)

    def _ask(
        self,
        does: str,
        needs: str,
        once: Callable[[], T],
        found: Callable[[], T | None] = lambda: None,
    ) -> T:
        """Try until there is an answer, as long as patience lasts.

        Where an answer was lost, `found` tells whether the request took effect; one that may be
        made again without looking needs none.
        """
        if self._left <= 0:
            raise self._unavailable(does, "the time that GitHub may cost one run is used up")
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            try:
                return self._once(does, needs, once)
            except NotNowError as error:
                wait = max(pause, error.pause)
                if not left or wait >= self._left:
                    raise self._unavailable(does, error, error.pause) from error
                self._timed(partial(self._sleep, wait))
                if error.sent and (there := found()):
                    return there
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _timed(self, act: Callable[[], T]) -> T:
        began = self._clock()
        try:
            return act()
        finally:
            self._left -= self._clock() - began

    def _once(self, does: str, needs: str, once: Callable[[], T]) -> T:
        """Make one request. Raises NotNowError, GitHubRefusedError."""
        try:
            return self._timed(once)
        except github.GithubException as error:
            raise _passing(error) or self._refusal(does, needs, error) from error
        except (requests.RequestException, json.JSONDecodeError) as error:
            raise NotNowError(_short(error)) from error
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # PyGithub's on a redirect
            raise GitHubRefusedError(
                f"{self._api_url} did not answer as GitHub's API: {_short(error)}",
                hint="Correct github-api-url: https://api.github.com, or https://HOST/api/v3 for"
                " GitHub Enterprise Server.",
            ) from error

    def _refusal(self, does: str, needs: str, error: github.GithubException) -> GitHubRefusedError:
        said, types = _said(error.data)
        message = f"GitHub would not {does} in {self.repository} ({error.status}): {said}"
        if error.status == HTTPStatus.UNAUTHORIZED:
            return GitHubRefusedError(
                f"{self._api_url} did not accept the token (401): {said}",
                hint="It may have expired, or belong to another host: correct github-token or"
                " github-api-url.",
            )
        if error.status == HTTPStatus.NOT_FOUND or types == {"NOT_FOUND"}:
            return MissingError(
                message,
                hint="Correct the repository's name. A token that may not see it is told the same:"
                f" grant the workflow's job `permissions: {needs}`.",
            )
        if "not accessible by" in said or types & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
            return GitHubRefusedError(
                message,
                hint=f"Grant the workflow's job `permissions: {needs}`. The token of a pull"
                " request from a fork can only read.",
            )
        if error.status < HTTPStatus.BAD_REQUEST:
            hint = "It moved: correct the repository's name, or github-api-url."
            return GitHubRefusedError(message, hint=hint)
        if error.status == HTTPStatus.GONE and needs == ISSUE:
            hint = "Switch issues on in the repository's settings: a fork has none at first."
            return GitHubRefusedError(message, hint=hint)
        if "locked" in said:
            hint = "Unlock its conversation: the next run tells there how its jobs stand."
            return GitHubRefusedError(message, hint=hint)
        return GitHubRefusedError(message, hint="No job is affected. If it stays, report it to us.")

    def _unavailable(self, does: str, why: object, pause: float = 0.0) -> UnavailableError:
        asks = f" It asks to wait {pause:.0f} s." if pause else ""
        return UnavailableError(
            f"GitHub at {self._api_url} could not {does}: {why}.{asks}",
            hint="No job is affected, and the next run tells what this one could not.",
        )


# --- what was sent and what came back ------------------------------------------------------------


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _comments(number: int, after: str) -> str:
    place = f"first: 100, after: {json.dumps(after)}" if after else "first: 100"
    return f"p{number}: pullRequest(number: {number}) {{ comments({place}) {{ {COMMENTS} }} }}"


def _status(i: int, sha: str, context: str) -> str:
    fields = f"status {{ context(name: {context}) {{ state description targetUrl }} }}"
    return f'c{i}: object(oid: "{sha}") {{ ... on Commit {{ {fields} }} }}'


def _comment(number: int, node: Wire) -> Comment:
    ident = int(node["fullDatabaseId"])
    return Comment(id=ident, number=number, body=node["body"], url=node["url"])


def _issue(node: Wire) -> Issue:
    is_open = node["state"] == "OPEN"
    return Issue(number=node["number"], body=node["body"], open=is_open, url=node["url"])


def _commit_status(context: str, node: Wire) -> CommitStatus:
    return CommitStatus(
        context=context,
        state=State[node["state"]],
        description=node["description"] or "",
        url=node["targetUrl"] or "",
    )


def _candidate(node: Wire) -> Candidate:
    return Candidate(
        number=node["number"],
        author=_login(node["author"]),
        merged_by=_login(node["mergedBy"]),
        merged=node["merged"],
        base=node["baseRefName"],
        head=node["headRefOid"],
        merge_commit=(node["mergeCommit"] or {}).get("oid"),
        authored=tuple(_seconds(n["commit"]["authoredDate"]) for n in node["commits"]["nodes"]),
    )


def _login(actor: Wire | None) -> str | None:
    """Return an account's name as REST and events have it: GraphQL leaves out a bot's `[bot]`."""
    if not actor:
        return None
    return f"{actor['login']}{'[bot]' * (actor['__typename'] == 'Bot')}"


def _seconds(time_stamp: str) -> int:
    return int(datetime.fromisoformat(time_stamp).timestamp())


def _whole_but_for_missing(answer: Any) -> bool:
    """Tell whether all that a query's answer lacks are single things that are not there."""
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        return False
    _, types = _said(answer)
    return types == {"NOT_FOUND"} and answer["data"].get("repository", True) is not None


def _run(wire: Wire) -> WorkflowRun:
    head = wire["head_repository"] or {}  # a fork that is gone
    return WorkflowRun(
        id=wire["id"],
        event=wire["event"],
        branch=wire["head_branch"],
        commit=wire["head_sha"],
        here=head.get("id") == wire["repository"]["id"],
    )


def _unpacked(packed: bytes, artifact: str) -> bytes:
    """Return the status document in a zip, which may be any bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive, archive.open("status.json") as member:
            content = member.read(LIMIT + 1)
    except Exception as error:  # each way of packing has errors of its own
        raise UnavailableError(
            f"The artifact {artifact} cannot be read: {_short(error)}",
            hint="The next dispatch uploads another one.",
        ) from error
    if len(content) > LIMIT:
        raise UnavailableError(f"The artifact {artifact} is too large: over {LIMIT} bytes.")
    return content


def _bare(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no credentials, not those of ~/.netrc either."""
    return request


def _said(data: Any) -> tuple[str, set[str]]:
    """Return GitHub's words and the types of a query's errors."""
    if not isinstance(data, dict):
        return _short(data), set()
    errors = [error for error in data.get("errors") or () if isinstance(error, dict)]
    words = [data.get("message"), *(error.get("message") for error in errors)]
    types = {error["type"] for error in errors if "type" in error}
    return _short("; ".join(str(word) for word in words if word) or "no reason given"), types


def _passing(error: github.GithubException) -> NotNowError | None:
    """Return what to wait for, where it is worth trying again soon."""
    said, types = _said(error.data)
    headers = error.headers or {}
    pause = headers.get("retry-after", "")
    limited = github.Requester.Requester.isRateLimitError(said) or "RATE_LIMITED" in types
    told = error.status == HTTPStatus.FORBIDDEN and pause  # in whatever words
    if limited or told or error.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = float(pause) if pause.isdigit() else _until_reset(headers)
        return NotNowError(said, pause=wait, sent=False)
    # A query that took too long comes back as an error without a type.
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or said.startswith("Something went wrong"):
        why = f"HTTP {error.status}: {said}"
        return NotNowError(why, pause=float(pause) if pause.isdigit() else 0.0)
    return None


def _until_reset(headers: Wire) -> float:
    """Return the seconds until a used-up primary limit is renewed, else a secondary one's."""
    if headers.get("x-ratelimit-remaining") != "0":
        return SECONDARY_PAUSE
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
        return max(1.0, float(headers.get("x-ratelimit-reset", "")) - now)
    except ValueError:
        return SECONDARY_PAUSE


def _short(text: object) -> str:
    """Return foreign text fit for one line of a message."""
    return brief.within(" ".join(str(text).split()), 200)
