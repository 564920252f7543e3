"""A stand-in for GitHub on loopback: one repository and what is said and kept there.

Stateful, and strict where GitHub is: every request and every answer is held against GitHub's
official description (`description`), and the limits that the description leaves out are kept.
Trouble is switched on by the test. What broke the description stands in `wrong`.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import responses
from graphql import GraphQLError, execute_sync
from responses import CallList

from tests.github import description

Wire = dict[str, Any]
TOKEN = "token-of-the-job"
REPOSITORY = "lab/requests"
NODE = "R_42"  # its node id
FORMER = "lab/former-name"
US = "github-actions[bot]"
NOON = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
BODY_LIMIT = 65_536
STORAGE = "/storage/"
BUSY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
DOCS = "https://docs.github.com/rest"
METHODS = ("GET", "POST", "PATCH", "DELETE")
STATES = ("error", "failure", "pending", "success")


# --- what there is -------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Pull:
    """A pull request: `branch` of `fork` ('' is this repository) shall come into `base`."""

    number: int
    author: str | None = "ada"
    base: str = "main"
    head: str = "a" * 40
    branch: str = "patch-1"
    fork: str = ""
    authored: tuple[int, ...] = ()  # when each of its commits was written
    merged: bool = False
    merged_by: str | None = None
    merge_commit: str | None = None
    closed: bool = False
    locked: bool = False
    repository: str = REPOSITORY

    @property
    def state(self) -> str:
        """Where it stands, in GraphQL's words."""
        return "MERGED" if self.merged else "CLOSED" if self.closed else "OPEN"

    @property
    def node(self) -> str:
        """Its node id."""
        return f"PR_{self.number}"


@dataclass(kw_only=True)
class Issue:
    """An issue that is no pull request."""

    number: int
    author: str
    title: str
    body: str
    closed: bool = False
    locked: bool = False

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://github.com/{REPOSITORY}/issues/{self.number}"


@dataclass(kw_only=True)
class Comment:
    """A comment on a pull request, or on an issue that is none."""

    id: int
    number: int
    author: str | None
    body: str
    edited: bool = False
    repository: str = REPOSITORY

    @property
    def node(self) -> str:
        """Its node id."""
        return f"IC_{self.id}"


@dataclass(kw_only=True)
class WorkflowRun:
    """A run of a workflow's file; `fork` is the repository whose commit it ran for, '' this one."""

    id: int
    workflow: str = "dispatch.yml"
    event: str = "push"
    branch: str | None = "main"
    commit: str = "a" * 40
    fork: str = ""


@dataclass(kw_only=True)
class Artifact:
    """What a run uploaded."""

    id: int
    name: str
    content: bytes
    run: WorkflowRun
    expired: bool = False


# --- what is answered ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer on its way; with `silence` there is none, and so late."""

    status: int
    headers: dict[str, str]
    content: bytes
    silence: float = 0.0


def reply(status: int, answer: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return the answer as GitHub sends it: a page, a file, or JSON."""
    content, kind = _encoded(answer)
    usual = {"Date": format_datetime(NOON, usegmt=True), "Content-Type": kind}
    length = {"Content-Length": str(len(content))}
    return Reply(status=status, headers=usual | length | dict(headers or {}), content=content)


def _encoded(answer: Any) -> tuple[bytes, str]:
    """Return a body and its kind."""
    if isinstance(answer, bytes):
        return answer, "application/zip"
    if isinstance(answer, str):
        return answer.encode(), "text/html"
    return b"" if answer is None else json.dumps(answer).encode(), "application/json; charset=utf-8"


# --- trouble -------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Trouble:
    """What goes wrong with requests whose `METHOD path` matches `on`, so many times.

    With `effect` the request is carried out and only its answer is lost.
    """

    on: str
    status: int = 200
    body: Wire | str = ""
    headers: dict[str, str] = field(default_factory=dict)
    effect: bool = False
    silence: float = 0.0
    times: int = 1

    @property
    def reply(self) -> Reply:
        """What is answered instead."""
        return replace(reply(self.status, self.body, self.headers), silence=self.silence)


def bad_gateway(on: str, *, effect: bool, times: int = 1) -> Trouble:
    """Return a 502 as a load balancer says it."""
    page = "<html><body><h1>502 Bad Gateway</h1></body></html>"
    return Trouble(on=on, status=502, body=page, effect=effect, times=times)


def silence(on: str, *, effect: bool, seconds: float = 1.5) -> Trouble:
    """Return a connection that closes without a word, later than anybody waits."""
    return Trouble(on=on, effect=effect, silence=seconds)


def secondary_limit(
    on: str, *, retry_after: int | None, times: int = 1, status: int = 403, message: str = BUSY
) -> Trouble:
    """Return what GitHub says to who is too busy."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Trouble(on=on, status=status, body=_error(message), headers=headers, times=times)


def primary_limit(on: str, *, resets_in: int) -> Trouble:
    """Return what GitHub says when the hour's calls are used up."""
    reset = str(int(NOON.timestamp()) + resets_in)
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    message = "API rate limit exceeded for installation ID 1."
    return Trouble(on=on, status=403, body=_error(message), headers=headers)


def query_error(message: str, kind: str | None = None, *, times: int = 1) -> Trouble:
    """Return an error of a GraphQL query: HTTP 200, as they all are."""
    error = {"message": message} | ({"type": kind} if kind else {})
    return Trouble(on="POST /graphql", body={"data": None, "errors": [error]}, times=times)


# --- git -----------------------------------------------------------------------------------------


class Git(Protocol):
    """The repository's git, as far as the API opens and merges pull requests in it."""

    def opened(self, pull: Pull) -> None:
        """Take up the pull request's commits as its branch has them."""

    def squash(self, pull: Pull, by: str) -> str:
        """Merge as one new commit; return it."""

    def compare(self, ref: str, commit: str) -> str | None:
        """Return how a commit is to a branch, in GitHub's words; None where there is no such."""


# --- the stand-in --------------------------------------------------------------------------------


class Answer(Exception):  # noqa: N818 (a way out, not an error)
    """An answer other than the usual one."""

    def __init__(self, status: int, body: Wire) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass
class GitHub:
    """The state, and what was asked of it."""

    url: str = ""
    token: str = TOKEN
    pulls: dict[int, Pull] = field(default_factory=dict)
    linked: dict[str, list[Pull]] = field(default_factory=dict)  # by commit
    issues: list[Issue] = field(default_factory=list)  # oldest first
    has_issues: bool = True
    comments: list[Comment] = field(default_factory=list)
    statuses: dict[str, list[Wire]] = field(default_factory=dict)  # by commit, newest last
    runs: list[WorkflowRun] = field(default_factory=list)  # newest last
    artifacts: list[Artifact] = field(default_factory=list)  # newest last
    visibility: str = "public"
    viewer: str = US  # whose the token is
    git: Git | None = None  # where the branches are, for who opens and merges by the API
    permissions: dict[str, str] = field(default_factory=dict)
    workflows: set[str] = field(default_factory=lambda: {"dispatch.yml"})  # ran or not
    disabled: dict[str, str] = field(default_factory=dict)  # why, by the workflow's file
    reactions: list[tuple[int, str]] = field(default_factory=list)
    denied: set[str] = field(
        default_factory=set
    )  # "pull-requests", "issues", "statuses", "actions"
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    points: int = 0  # what the queries cost: a workflow's token has 1,000 an hour
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(2**32))

    # --- for tests ---

    def pull(self, number: int, **facts: Any) -> Pull:
        """Open a pull request; facts are the fields of `Pull`."""
        pull = Pull(number=number, **facts)
        if pull.repository == REPOSITORY:
            self.pulls[number] = pull
        return pull

    def merge(self, pull: Pull, merge_commit: str, *brought: str, by: str | None = "grace") -> None:
        """Merge it; the commits it brought, beside the merge commit, are linked with it too."""
        pull.merged, pull.merged_by, pull.merge_commit = True, by, merge_commit
        for sha in {merge_commit, *brought}:
            self.linked.setdefault(sha, []).append(pull)

    def issue(self, body: str, author: str = "grace", title: str = "A question") -> Issue:
        """Open an issue as somebody."""
        number = max([*self.pulls, *(issue.number for issue in self.issues)], default=0) + 1
        issue = Issue(number=number, author=author, title=title, body=body)
        self.issues.append(issue)
        return issue

    def comment(self, number: int, body: str, author: str | None = "grace") -> Comment:
        """Write a comment as somebody."""
        comment = Comment(id=next(self.ids), number=number, author=author, body=body)
        self.comments.append(comment)
        return comment

    def ran(self, **facts: Any) -> WorkflowRun:
        """Run a workflow; facts are the fields of `WorkflowRun`."""
        self.runs.append(WorkflowRun(id=next(self.ids), **facts))
        return self.runs[-1]

    def upload(
        self, name: str, files: Mapping[str, bytes] | bytes, run: WorkflowRun | None = None
    ) -> Artifact:
        """Keep files as the artifact of a run, of a dispatch of its own if none is named.

        Bytes are kept as they are, in place of a zip.
        """
        content = files if isinstance(files, bytes) else zipped(files)
        run = run or self.ran()
        artifact = Artifact(id=next(self.ids), name=name, content=content, run=run)
        self.artifacts.append(artifact)
        return artifact

    def on(self, number: int, author: str = US) -> list[str]:
        """Return the bodies of somebody's comments on a pull request."""
        return [c.body for c in self.comments if (c.number, c.author) == (number, author)]

    def said(self, commit: str) -> list[tuple[str, str]]:
        """Return context and state of each status set on a commit."""
        return [(status["context"], status["state"]) for status in self.statuses.get(commit, [])]

    def count(self) -> Counter[str]:
        """Return how many requests there were: queries, reads, writes."""
        return Counter(
            "queries" if line.endswith("/graphql") else "reads" if line[:3] == "GET" else "writes"
            for line in self.asked
        )

    # --- what anybody asks ---

    def answer(self, method: str, target: str, authorization: str, raw: bytes | None) -> Reply:
        """Answer a request, whoever brought it here."""
        # GitHub Enterprise Server has the REST API at /api/v3 and GraphQL at /api/graphql.
        path = re.sub("^/api/(v3/)?", "/", urlsplit(target).path)
        line = f"{method} {path}"
        with self.lock:
            self.asked += [] if path.startswith(STORAGE) else [line]
            trouble = next((t for t in self.troubles if t.times and re.search(t.on, line)), None)
            if trouble:
                trouble.times -= 1
            if trouble is None or trouble.effect:
                query = dict(parse_qsl(urlsplit(target).query))
                reply = self._reply(method, path, query, authorization, raw or b"")
        return trouble.reply if trouble else reply

    def _reply(
        self, method: str, path: str, query: dict[str, str], authorization: str, raw: bytes
    ) -> Reply:
        try:
            if path.startswith(STORAGE):
                assert not authorization, "the storage was shown the token"
                return reply(200, self._stored(path.removeprefix(STORAGE)))
            if authorization != f"token {self.token}":
                return reply(401, _error("Bad credentials"))
            if path == "/graphql":
                return reply(200, self.graphql(json.loads(raw)))
            request = description.check_request(method, path, query, raw)
            try:
                status, answer = self.rest(method, path, json.loads(raw) if raw else query)
            except Answer as other:
                status, answer = other.status, other.body
            headers = {}
            if status == 302:
                headers, answer = {"Location": answer}, None
            description.check_answer(request, status, answer)
            return reply(status, answer, headers)
        except AssertionError as error:
            self.wrong.append(str(error))
            return reply(599, _error(str(error)))

    # --- REST ---

    def rest(self, method: str, path: str, body: Wire) -> tuple[int, Any]:
        """Carry out a request of the REST API; the body of one that has none is its query."""
        root = f"/repos/{REPOSITORY}"
        if path.startswith(f"/repos/{FORMER}/"):
            raise Answer(307, _error("Moved Permanently"))
        if not path.startswith(f"{root}/"):
            raise Answer(404, _error("Not Found"))
        for verb, shape, act in self._routes():
            match = re.fullmatch(shape, path.removeprefix(root))
            if verb == method and match:
                return act(*match.groups(), body)
        raise AssertionError(f"the stand-in does not know {method} {path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., tuple[int, Any]]]]:
        return [
            ("POST", r"/issues", self._open_issue),
            ("PATCH", r"/issues/(\d+)", self._amend_issue),
            ("POST", r"/issues/(\d+)/comments", self._create),
            ("PATCH", r"/issues/comments/(\d+)", self._edit),
            ("DELETE", r"/issues/comments/(\d+)", self._delete),
            ("POST", r"/issues/comments/(\d+)/reactions", self._react),
            ("POST", r"/statuses/([0-9a-f]{40})", self._status),
            ("GET", r"/collaborators/([^/]+)/permission", self._permission),
            ("GET", r"/actions/workflows/([^/]+)", self._workflow),
            ("GET", r"/actions/workflows/([^/]+)/runs", self._runs),
            ("GET", r"/actions/runs/(\d+)/artifacts", self._artifacts),
            ("GET", r"/actions/artifacts/(\d+)/zip", self._zip),
        ]

    def _create(self, number: str, body: Wire) -> tuple[int, Any]:
        pull = self.pulls.get(int(number))
        self._needs("pull-requests" if pull else "issues")
        on = pull or self._issue(number)
        if on.locked:
            raise Answer(403, _error("Unable to create comment because issue is locked."))
        _fits(body)
        return 201, self._wire(self.comment(on.number, body["body"], self.viewer))

    def _open_issue(self, body: Wire) -> tuple[int, Any]:
        self._needs("issues")
        if not self.has_issues:
            raise Answer(410, _error("Issues has been disabled in this repository."))
        _fits(body)
        return 201, self._issue_wire(self.issue(body["body"], self.viewer, body["title"]))

    def _amend_issue(self, number: str, body: Wire) -> tuple[int, Any]:
        self._needs("issues")
        issue = self._issue(number)
        if "body" in body:
            _fits(body)
            issue.body = body["body"]
        issue.closed = body.get("state", "closed" if issue.closed else "open") == "closed"
        return 200, self._issue_wire(issue)

    def _issue(self, number: str) -> Issue:
        found = next((issue for issue in self.issues if issue.number == int(number)), None)
        if not found:
            raise Answer(404, _error("Not Found"))
        return found

    def _edit(self, ident: str, body: Wire) -> tuple[int, Any]:
        self._needs("pull-requests")
        comment = self._ours(ident)
        _fits(body)
        comment.body, comment.edited = body["body"], True
        return 200, self._wire(comment)

    def _delete(self, ident: str, body: Wire) -> tuple[int, Any]:
        self._needs("pull-requests")
        self.comments.remove(self._ours(ident))
        return 204, None

    def _react(self, ident: str, body: Wire) -> tuple[int, Any]:
        self._needs("pull-requests")
        comment = next((c for c in self.comments if c.id == int(ident)), None)
        if not comment:
            raise Answer(404, _error("Not Found"))
        reaction = (comment.id, body["content"])
        status = 200 if reaction in self.reactions else 201
        self.reactions += [reaction] if status == 201 else []
        wire = {"id": 1, "node_id": "REA_1", "user": _user(self.viewer), "content": body["content"]}
        return status, wire | {"created_at": _stamp(0)}

    def _status(self, sha: str, body: Wire) -> tuple[int, Any]:
        self._needs("statuses")
        if body["state"] not in STATES or len(body.get("description") or "") > 140:
            raise Answer(422, _invalid("Validation failed: description is too long"))
        status = {"target_url": None, "description": None, "context": "default"} | body
        self.statuses.setdefault(sha, []).append(status)
        times = {"created_at": _stamp(0), "updated_at": _stamp(0)}
        address = f"https://api.github.com/repos/{REPOSITORY}/statuses/{sha}"
        more = {"url": address, "avatar_url": None, "id": 1, "node_id": "SC_1"}
        return 201, status | times | more | {"creator": _user(self.viewer)}

    def _permission(self, login: str, body: Wire) -> tuple[int, Any]:
        level = self.permissions.get(unquote(login))
        if level is None:
            raise Answer(404, _error(f"{unquote(login)} is not a user"))
        who = _user(unquote(login)) | {"role_name": level}
        return 200, {"permission": level, "role_name": level, "user": who}

    def _workflow(self, name: str, query: Wire) -> tuple[int, Any]:
        self._needs("actions")
        file = unquote(name)
        if file not in self.workflows | {run.workflow for run in self.runs}:
            raise Answer(404, _error("Not Found"))
        page = f"https://github.com/{REPOSITORY}"
        return 200, {
            "id": 1,
            "node_id": "W_1",
            "name": file.partition(".")[0],
            "path": f".github/workflows/{file}",
            "state": self.disabled.get(file, "active"),
            "created_at": _stamp(0),
            "updated_at": _stamp(0),
            "url": f"https://api.github.com/repos/{REPOSITORY}/actions/workflows/1",
            "html_url": f"{page}/blob/main/.github/workflows/{file}",
            "badge_url": f"{page}/workflows/x/badge.svg",
        }

    def _runs(self, workflow: str, query: Wire) -> tuple[int, Any]:
        self._needs("actions")
        found = [run for run in self.runs if run.workflow == unquote(workflow)]
        if not found and unquote(workflow) not in self.workflows:
            raise Answer(404, _error("Not Found"))
        newest = found[::-1][: _per_page(query)]
        return 200, {"total_count": len(found), "workflow_runs": [_run(run) for run in newest]}

    def _artifacts(self, ident: str, query: Wire) -> tuple[int, Any]:
        self._needs("actions")
        if int(ident) not in {run.id for run in self.runs}:
            raise Answer(404, _error("Not Found"))
        of_run = [a for a in self.artifacts if a.run.id == int(ident)]
        named = [a for a in of_run if query.get("name") in (None, a.name)]
        newest = named[::-1][: _per_page(query)]
        return 200, {"total_count": len(named), "artifacts": [self._listed(a) for a in newest]}

    def _zip(self, ident: str, query: Wire) -> tuple[int, Any]:
        self._needs("actions")
        artifact = next((a for a in self.artifacts if a.id == int(ident)), None)
        if not artifact:
            raise Answer(404, _error("Not Found"))
        if artifact.expired:
            raise Answer(410, _error("Artifact has expired"))
        return 302, f"{self.url}{STORAGE}{ident}?sig=opens-it"

    def _stored(self, ident: str) -> bytes:
        """Return what the storage holds, which is another host."""
        return next(a.content for a in self.artifacts if a.id == int(ident))

    def _listed(self, artifact: Artifact) -> Wire:
        address = f"https://api.github.com/repos/{REPOSITORY}/actions/artifacts/{artifact.id}"
        created = _stamp(artifact.id - 2**32)
        run = {"id": artifact.run.id, "repository_id": 42}
        run |= {"head_repository_id": 43 if artifact.run.fork else 42}
        return {
            "id": artifact.id,
            "node_id": "A_1",
            "name": artifact.name,
            "size_in_bytes": len(artifact.content),
            "url": address,
            "archive_download_url": f"{address}/zip",
            "expired": artifact.expired,
            "created_at": created,
            "updated_at": created,
            "expires_at": _stamp(90 * 86_400),
            "workflow_run": run
            | {"head_branch": artifact.run.branch, "head_sha": artifact.run.commit},
        }

    def _needs(self, permission: str) -> None:
        if permission in self.denied:
            raise Answer(403, _error("Resource not accessible by integration"))

    def _ours(self, ident: str) -> Comment:
        """Return a comment that we may change."""
        comment = next((c for c in self.comments if c.id == int(ident)), None)
        if not comment:
            raise Answer(404, _error("Not Found"))
        if comment.author != self.viewer:
            raise Answer(403, _error("Resource not accessible by integration"))
        return comment

    def _issue_wire(self, issue: Issue) -> Wire:
        root = f"https://api.github.com/repos/{REPOSITORY}"
        address = f"{root}/issues/{issue.number}"
        return {
            "id": issue.number,
            "node_id": f"I_{issue.number}",
            "url": address,
            "repository_url": root,
            "labels_url": f"{address}/labels{{/name}}",
            "comments_url": f"{address}/comments",
            "events_url": f"{address}/events",
            "html_url": issue.url,
            "number": issue.number,
            "state": "closed" if issue.closed else "open",
            "title": issue.title,
            "body": issue.body,
            "user": _user(issue.author),
            "labels": [],
            "assignee": None,
            "milestone": None,
            "locked": issue.locked,
            "comments": sum(c.number == issue.number for c in self.comments),
            "closed_at": _stamp(60) if issue.closed else None,
            "created_at": _stamp(0),
            "updated_at": _stamp(60),
            "author_association": "CONTRIBUTOR",
        }

    def _wire(self, comment: Comment) -> Wire:
        issues = f"https://api.github.com/repos/{REPOSITORY}/issues"
        return {
            "id": comment.id,
            "node_id": comment.node,
            "url": f"{issues}/comments/{comment.id}",
            "html_url": self._address(comment),
            "issue_url": f"{issues}/{comment.number}",
            "body": comment.body,
            "user": _user(comment.author) if comment.author else None,
            "created_at": _stamp(0),
            "updated_at": _stamp(60 * comment.edited),
            "author_association": "CONTRIBUTOR",
        }

    def _address(self, comment: Comment) -> str:
        kind = "issues" if any(i.number == comment.number for i in self.issues) else "pull"
        page = f"https://github.com/{REPOSITORY}/{kind}/{comment.number}"
        return f"{page}#issuecomment-{comment.id}"

    # --- GraphQL ---

    def graphql(self, body: Wire) -> Wire:
        """Carry out a query; errors come with HTTP 200."""
        query = description.check_query(body["query"])
        self.points += description.cost(query)
        root = {
            "repository": self._repository,
            "node": self._node,
            "createPullRequest": self._open,
            "mergePullRequest": self._merge,
        }
        variables = body.get("variables")
        done = execute_sync(description.graphql(), query, root, variable_values=variables)
        for error in done.errors or ():
            expected = isinstance(error.original_error, RefusedError)
            assert expected, f"the stand-in answers wrong: {error}"
        errors = [
            {"message": e.message, "path": e.path, "type": (e.extensions or {})["type"]}
            for e in done.errors or ()
        ]
        return {"data": done.data} | ({"errors": errors} if errors else {})

    def _open(self, _info: Any, *, input: Wire) -> Wire:  # noqa: A002 (GitHub's name for it)
        self._may("pull-requests")
        assert self.git, "a stand-in without git opens no pull request"
        assert input["repositoryId"] == NODE
        number = max(self.pulls, default=0) + 1
        branch, base = input["headRefName"], input["baseRefName"]
        pull = self.pull(number, author=self.viewer, branch=branch, base=base)
        self.git.opened(pull)
        return {"pullRequest": self._pull_node(pull)}

    def _merge(self, _info: Any, *, input: Wire) -> Wire:  # noqa: A002 (GitHub's name for it)
        self._may("contents")
        assert self.git, "a stand-in without git merges no pull request"
        assert input["mergeMethod"] == "SQUASH"
        pull = next(p for p in self.pulls.values() if p.node == input["pullRequestId"])
        self.git.squash(pull, by=self.viewer)
        return {"pullRequest": self._pull_node(pull)}

    def _may(self, permission: str) -> None:
        if permission in self.denied:
            raise RefusedError("Resource not accessible by integration", "FORBIDDEN")

    def _repository(self, _info: Any, *, owner: str, name: str, **how: bool) -> Wire:
        known = (REPOSITORY, FORMER) if how["followRenames"] else (REPOSITORY,)
        if f"{owner}/{name}".lower() not in known:
            text = f"Could not resolve to a Repository with the name '{owner}/{name}'."
            raise RefusedError(text, "NOT_FOUND")
        return {
            "id": NODE,
            "nameWithOwner": REPOSITORY,
            "visibility": self.visibility.upper(),
            "pullRequests": self._pull_requests,
            "object": lambda _info, oid: self._commit(oid),
            "ref": self._ref,
            "pullRequest": self._pull_request,
            "issues": self._issues,
            "issue": self._one_issue,
        }

    def _ref(self, _info: Any, *, qualifiedName: str) -> Wire:  # noqa: N803 (GitHub's name for it)
        def compare(_info: Any, *, headRef: str) -> Wire | None:  # noqa: N803
            # Without git, every commit that is asked about is the branch's last.
            status = self.git.compare(qualifiedName, headRef) if self.git else "IDENTICAL"
            return {"id": "CMP_1", "status": status} if status else None

        return {"id": "REF_1", "compare": compare}

    def _issues(self, info: Any, *, first: int, **given: Any) -> Wire:
        self._may("issues")
        assert given.pop("orderBy") == {"field": "CREATED_AT", "direction": "ASC"}
        nodes = [self._issue_node(issue) for issue in self.issues]
        return _pages("issues", nodes)(info, first=first, **given)

    def _one_issue(self, _info: Any, *, number: int) -> Wire:
        self._may("issues")
        found = [issue for issue in self.issues if issue.number == number]
        if not found:
            text = f"Could not resolve to an Issue with the number of {number}."
            raise RefusedError(text, "NOT_FOUND")
        return self._issue_node(found[0])

    def _issue_node(self, issue: Issue) -> Wire:
        comments = [c for c in self.comments if c.number == issue.number]
        return {
            "id": f"I_{issue.number}",
            "number": issue.number,
            "body": issue.body,
            "state": "CLOSED" if issue.closed else "OPEN",
            "url": issue.url,
            "viewerDidAuthor": issue.author == self.viewer,
            "comments": _pages("comments", [self._comment_node(c) for c in comments]),
        }

    def _pull_request(self, _info: Any, *, number: int) -> Wire:
        if number not in self.pulls:
            text = f"Could not resolve to a PullRequest with the number of {number}."
            raise RefusedError(text, "NOT_FOUND")
        return self._pull_node(self.pulls[number])

    def _pull_requests(self, info: Any, *, states: list[str], first: int, **given: Any) -> Wire:
        assert given.pop("orderBy") == {"field": "UPDATED_AT", "direction": "DESC"}
        branch = given.pop("headRefName")
        fitting = [p for p in self.pulls.values() if p.branch == branch and p.state in states]
        nodes = [self._pull_node(pull) for pull in reversed(fitting)]
        return _pages("pullRequests", nodes)(info, first=first, **given)

    def _node(self, _info: Any, *, id: str) -> Wire:  # noqa: A002 (GitHub's name for it)
        for comment in self.comments:
            if comment.node == id:
                return self._comment_node(comment)
        raise RefusedError(f"Could not resolve to a node with the global id of '{id}'", "NOT_FOUND")

    def _commit(self, oid: str) -> Wire | None:
        if oid not in self.linked and oid not in self.statuses:
            return None

        def status(_info: Any) -> Wire | None:
            self._may("statuses")
            return {"context": context} if oid in self.statuses else None

        def context(_info: Any, *, name: str) -> Wire | None:
            newest = [s for s in self.statuses[oid] if s["context"] == name][-1:]
            return next(
                (
                    {
                        "state": s["state"].upper(),
                        "description": s["description"],
                        "targetUrl": s["target_url"],
                    }
                    for s in newest
                ),
                None,
            )

        linked = [self._pull_node(pull) for pull in self.linked.get(oid, [])]
        return {
            "__typename": "Commit",
            "oid": oid,
            "associatedPullRequests": _pages("associatedPullRequests", linked),
            "status": status,
        }

    def _pull_node(self, pull: Pull) -> Wire:
        commits = [{"commit": {"authoredDate": _utc(seconds)}} for seconds in pull.authored]
        comments = [c for c in self.comments if c.number == pull.number]
        return {
            "id": pull.node,
            "number": pull.number,
            "author": _actor(pull.author),
            "baseRefName": pull.base,
            "headRefOid": pull.head,
            "merged": pull.merged,
            "mergedBy": _actor(pull.merged_by),
            "mergeCommit": {"oid": pull.merge_commit} if pull.merge_commit else None,
            "baseRepository": {"nameWithOwner": pull.repository},
            "commits": _pages("commits", commits),
            "comments": _pages("comments", [self._comment_node(c) for c in comments]),
        }

    def _comment_node(self, comment: Comment) -> Wire:
        pull = self.pulls.get(comment.number)
        return {
            "__typename": "IssueComment",
            "id": comment.node,
            "fullDatabaseId": str(comment.id),
            "author": _actor(comment.author),
            "body": comment.body,
            "url": self._address(comment),
            "lastEditedAt": _stamp(60) if comment.edited else None,
            "viewerDidAuthor": comment.author == self.viewer,
            "repository": {"nameWithOwner": comment.repository},
            "pullRequest": (lambda _info: self._pull_node(pull)) if pull else None,
        }


class RefusedError(GraphQLError):
    """An error that GitHub tells in a query's answer."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, extensions={"type": kind})


def _pages(name: str, nodes: list[Wire]) -> Callable[..., Wire]:
    """Return a connection's resolver, with GitHub's limits."""

    def page(
        _info: Any, *, first: int | None = None, last: int | None = None, after: str = "", **_: Any
    ) -> Wire:
        size = first if first is not None else last
        if size is None:
            text = f"You must provide a `first` or `last` value to paginate `{name}`."
            raise AssertionError(text)
        assert 1 <= size <= 100, f"`{name}` may not ask for {size}"
        start = int(after.removeprefix("after-")) if after else 0
        chosen = nodes[start : start + size] if first else nodes[-size:]
        more = first is not None and start + size < len(nodes)
        cursor = f"after-{start + len(chosen)}"
        info = {"hasNextPage": more, "endCursor": cursor if chosen else None}
        return {"nodes": chosen, "totalCount": len(nodes), "pageInfo": info}

    return page


def _fits(body: Wire) -> None:
    if len(body["body"]) > BODY_LIMIT:
        raise Answer(422, _invalid(f"Body is too long (maximum is {BODY_LIMIT} characters)"))
    if not body["body"].strip():
        raise Answer(422, _invalid("Body can't be blank"))


def _error(message: str) -> Wire:
    return {"message": message, "documentation_url": DOCS}


def _invalid(message: str) -> Wire:
    error = {"resource": "IssueComment", "code": "unprocessable", "field": "data"}
    return _error("Validation Failed") | {"errors": [error | {"message": message}]}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _actor(login: str | None) -> Wire | None:
    kind = "Bot" if login and login.endswith("[bot]") else "User"
    # GraphQL names a bot without the brackets that REST adds.
    return {"__typename": kind, "login": login.removesuffix("[bot]")} if login else None


def _user(login: str) -> Wire:
    bot = login.endswith("[bot]")
    root = f"https://api.github.com/users/{quote(login)}"
    lists = "followers following gists starred subscriptions organizations repos events"
    return {
        "login": login,
        "id": 1,
        "node_id": "U_1",
        "avatar_url": "https://avatars.githubusercontent.com/u/1",
        "gravatar_id": "",
        "url": root,
        "html_url": f"https://github.com/{'apps/' * bot}{login.removesuffix('[bot]')}",
        "received_events_url": f"{root}/received_events",
        "type": "Bot" if bot else "User",
        "site_admin": False,
        **{f"{name}_url": f"{root}/{name}" for name in lists.split()},
    }


def _per_page(query: Wire) -> int:
    size = int(query.get("per_page", 30))
    assert 1 <= size <= 100, f"GitHub lists 100 at most, not {size}"
    return size


def _run(run: WorkflowRun) -> Wire:
    """Return a run as REST lists it."""
    root = f"https://api.github.com/repos/{REPOSITORY}/actions/runs/{run.id}"
    lists = "jobs logs check_suite cancel rerun artifacts workflow"
    return {
        "id": run.id,
        "node_id": f"WFR_{run.id}",
        "name": Path(run.workflow).stem,
        "head_branch": run.branch,
        "head_sha": run.commit,
        "run_number": 1,
        "display_title": "a run",
        "event": run.event,
        "status": "completed",
        "conclusion": "success",
        "path": f".github/workflows/{run.workflow}",
        "workflow_id": 1,
        "url": root,
        "html_url": f"https://github.com/{REPOSITORY}/actions/runs/{run.id}",
        "created_at": _stamp(run.id - 2**32),
        "updated_at": _stamp(run.id - 2**32),
        "head_commit": None,
        "repository": _repository(REPOSITORY, 42),
        "head_repository": _repository(run.fork, 43) if run.fork else _repository(REPOSITORY, 42),
        "pull_requests": [],
        **{f"{name}_url": f"{root}/{name}" for name in lists.split()},
    }


def _repository(full_name: str, ident: int) -> Wire:
    """Return a repository in the short form that stands in a run."""
    owner, name = full_name.split("/")
    root = f"https://api.github.com/repos/{full_name}"
    lists = (
        "archive assignees blobs branches collaborators comments commits compare contents"
        " contributors deployments downloads events forks git_commits git_refs git_tags hooks"
        " issue_comment issue_events issues keys labels languages merges milestones notifications"
        " pulls releases stargazers statuses subscribers subscription tags teams trees"
    )
    return {
        "id": ident,
        "node_id": f"R_{ident}",
        "name": name,
        "full_name": full_name,
        "owner": _user(owner),
        "private": False,
        "html_url": f"https://github.com/{full_name}",
        "description": None,
        "fork": ident != 42,
        "url": root,
        **{f"{one}_url": f"{root}/{one}" for one in lists.split()},
    }


def _stamp(after: int) -> str:
    return _utc(int(NOON.timestamp()) + after)


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_sha(text: object) -> str:
    """Return a commit id."""
    return hashlib.sha1(str(text).encode(), usedforsecurity=False).hexdigest()


# --- how it is reached ---------------------------------------------------------------------------


@contextmanager
def serve() -> Iterator[GitHub]:
    """Yield a stand-in that is a server; raises at the end what broke the description."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    there = GitHub(url=f"http://127.0.0.1:{server.server_port}")
    server.github = there  # type: ignore[attr-defined]  # the handler's only way to it
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield there
    finally:
        there.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert not there.wrong, "\n".join(there.wrong)


@contextmanager
def in_process(storage: str = "https://storage.example") -> Iterator[tuple[GitHub, CallList]]:
    """Yield a stand-in that answers at every address, without a server, and what reached it."""
    there = GitHub(url=storage)

    def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
        authorization = request.headers.get("Authorization", "")
        reply = there.answer(request.method, request.path_url, authorization, request.body)
        return reply.status, reply.headers, reply.content

    with responses.RequestsMock() as reached:
        for method in METHODS:
            reached.add_callback(method, re.compile(""), answer)
        reached.assert_all_requests_are_fired = False
        yield there, reached.calls
    assert not there.wrong, "\n".join(there.wrong)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        there: GitHub = self.server.github  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        authorization = self.headers.get("Authorization", "")
        reply = there.answer(self.command, self.path, authorization, raw)
        if reply.silence:
            there.over.wait(reply.silence)
            self.close_connection = True
            return
        with suppress(ConnectionError):  # nobody waits for it any more
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked stands in `asked`."""
