"""A stand-in for the Globus service: tokens, submission ids, transfer tasks; in one process.

It knows what a transfer job needs and no more. A file is transferred at each look at its task,
unless the task is held; tests turn to its state and its faults. What it answers is held against
the SDK's own recordings (`test_service.py`); the real service was not reached.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]
FILES = 3  # in every task
SIZE = 100  # bytes of each
SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
ENDED = ("SUCCEEDED", "FAILED")
ACCEPTED = "The transfer has been accepted and a task has been created and queued for execution"
UNANSWERED = 0  # a status: the connection is cut instead of an answer
SILENT = 1  # a status: the answer never comes


@dataclass(kw_only=True)
class Task:
    """One transfer task."""

    request: Document
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "ACTIVE"
    transferred: int = 0
    nice_status: str | None = None
    fatal_error: Document | None = None
    requested: datetime = field(default_factory=lambda: datetime.now(UTC))

    def move_on(self) -> None:
        """Transfer one more file; the last one ends the task."""
        if self.status == "ACTIVE":
            self.transferred += 1
            if self.transferred == FILES:
                self.status = "SUCCEEDED"

    def fail(self, code: str, description: str) -> None:
        self.status = "FAILED"
        self.fatal_error = {"code": code, "description": description}

    def document(self) -> Document:
        """Return the task as the service describes it."""
        ask, ended = self.request, self.status in ENDED
        return {
            "DATA_TYPE": "task",
            "bytes_checksummed": 0,
            "bytes_transferred": self.transferred * SIZE,
            "canceled_by_admin": None,
            "canceled_by_admin_message": None,
            "command": "API 0.10",
            "completion_time": _time(datetime.now(UTC)) if ended else None,
            "deadline": _time(self.requested + timedelta(days=1)),
            "delete_destination_extra": ask.get("delete_destination_extra", False),
            "destination_endpoint": f"u_none#{ask['destination_endpoint']}",
            "destination_endpoint_display_name": "there",
            "destination_endpoint_id": ask["destination_endpoint"],
            "directories": 1,
            "effective_bytes_per_second": SIZE,
            "encrypt_data": ask.get("encrypt_data", False),
            "fail_on_quota_errors": ask.get("fail_on_quota_errors", False),
            "fatal_error": self.fatal_error,
            "faults": 0,
            "files": FILES,
            "files_skipped": 0,
            "files_transferred": self.transferred,
            "filter_rules": ask.get("filter_rules"),
            "history_deleted": False,
            "is_ok": None if ended else self.nice_status in (None, "OK"),
            "is_paused": False,
            "label": ask.get("label"),
            "nice_status": self.nice_status,
            "nice_status_details": None,
            "nice_status_expires_in": None,
            "nice_status_short_description": None,
            "owner_id": str(uuid.UUID(int=1)),
            "preserve_timestamp": ask.get("preserve_timestamp", False),
            "recursive_symlinks": "ignore",
            "request_time": _time(self.requested),
            "skip_source_errors": ask.get("skip_source_errors", False),
            "source_endpoint": f"u_none#{ask['source_endpoint']}",
            "source_endpoint_display_name": "here",
            "source_endpoint_id": ask["source_endpoint"],
            "status": self.status,
            "subtasks_canceled": 0,
            "subtasks_expired": 0,
            "subtasks_failed": 0,
            "subtasks_pending": FILES - self.transferred,
            "subtasks_retrying": 0,
            "subtasks_skipped_errors": 0,
            "subtasks_succeeded": self.transferred,
            "subtasks_total": FILES,
            "symlinks": 0,
            "sync_level": ask.get("sync_level"),
            "task_id": self.id,
            "type": "TRANSFER",
            "username": "u_none",
            "verify_checksum": ask.get("verify_checksum", True),
        }


def _time(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


class Answered(Exception):  # noqa: N818 an answer, whatever it says
    """Ends a request with a status and a document."""

    def __init__(self, status: int, document: Document) -> None:
        self.status, self.document = status, document


def refused(status: int, code: str, message: str, resource: str) -> Answered:
    """Return an error of the Transfer API."""
    told = {"code": code, "message": message, "request_id": "abcDEF123", "resource": resource}
    return Answered(status, told)


class Service:
    """The state of the service, and what tests do to it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clients = {str(uuid.uuid4()): secrets.token_urlsafe(32)}
        self.tokens: set[str] = set()
        self.submissions: dict[str, Task | None] = {}  # every id handed out, and its task
        self.endpoints: dict[str, Document] = {}  # by setup key
        self.held = False  # tasks stand still
        self.lose_answers = 0  # so many of the next submissions are taken and not answered
        self.status: int | None = None  # what every request of the Transfer API is answered with
        self.requests: list[str] = []
        self.relay = "up"  # or `silent` (no answer), `closed` (refuses), `broken` (ends programs)
        self.set_up: dict[str, str] = {}  # endpoint by used setup key
        self.connected: dict[str, str] = {}  # what each connected endpoint offers

    @property
    def tasks(self) -> list[Task]:
        """All tasks, oldest first."""
        with self.lock:
            return [task for task in self.submissions.values() if task]

    def credentials(self) -> dict[str, str]:
        """Return the variables by which the CLI acts as a client of this service."""
        client, secret = next(iter(self.clients.items()))
        return {"GLOBUS_CLI_CLIENT_ID": client, "GLOBUS_CLI_CLIENT_SECRET": secret}

    # --- what is asked ---

    def token(self, login: str, form: dict[str, list[str]]) -> Document:
        """Answer a client's own login."""
        client, _, secret = login.partition(":")
        if self.clients.get(client) != secret:
            raise Answered(401, {"error": "invalid_client"})
        if form.get("grant_type") != ["client_credentials"]:
            raise Answered(400, {"error": "unsupported_grant_type"})
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        return {
            "access_token": token,
            "scope": SCOPE,
            "expires_in": 172800,
            "token_type": "Bearer",
            "resource_server": "transfer.api.globus.org",
            "other_tokens": [],
        }

    def submission_id(self) -> Document:
        given = str(uuid.uuid4())
        self.submissions[given] = None
        return {"value": given}

    def submit(self, request: Document) -> Document:
        """Make a task, once for each submission id."""
        resource, given = "/v0.10/transfer", request.get("submission_id")
        if not request.get("DATA"):
            code = "ClientError.BadRequest.NoTransferItems"
            raise refused(400, code, "A transfer requires at least one item", resource)
        if given not in self.submissions:
            raise refused(400, "BadRequest", "This submission id was not handed out", resource)
        known = self.submissions[given]
        task = self.submissions[given] = known or Task(request=request)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Answered(UNANSWERED, {})
        return {
            "DATA_TYPE": "transfer_result",
            "code": "Duplicate" if known else "Accepted",
            "message": "The same submission was accepted before" if known else ACCEPTED,
            "request_id": "abcDEF123",
            "resource": resource,
            "submission_id": given,
            "task_id": task.id,
            "task_link": {
                "DATA_TYPE": "link",
                "href": f"/v0.10/task/{task.id}?format=json",
                "rel": "related",
                "resource": "task",
                "title": "related task",
            },
        }

    def look_at(self, name: str) -> Document:
        task = self._task(name)
        if not self.held:
            task.move_on()
        return task.document()

    def cancel(self, name: str) -> Document:
        task = self._task(name)
        code, message = "TaskComplete", "The task completed before the cancel request."
        if task.status not in ENDED:
            code, message = "Canceled", "The task has been cancelled successfully."
            task.fail("CANCELED", "The task was canceled")
        return {
            "DATA_TYPE": "result",
            "code": code,
            "message": message,
            "resource": f"/task/{name}/cancel",
            "request_id": "abcDEF123",
        }

    def create_endpoint(self, request: Document) -> Document:
        """Make a Globus Connect Personal endpoint, to be set up with the key."""
        key, endpoint = str(uuid.uuid4()), str(uuid.uuid4())
        self.endpoints[key] = {"id": endpoint, **request}
        return {
            "DATA_TYPE": "endpoint_create_result",
            "code": "Created",
            "message": "Endpoint created successfully",
            "id": endpoint,
            "globus_connect_setup_key": key,
            "resource": "/endpoint",
            "request_id": "abcDEF123",
        }

    # --- the relay, as the stand-in of Globus Connect Personal speaks with it ---

    def register(self, request: Document) -> Document:
        """Set up an endpoint, once for each key."""
        key = request["key"]
        if key not in self.endpoints or key in self.set_up:
            raise Answered(404, {"message": "Unknown or used setup key"})
        self.set_up[key] = self.endpoints[key]["id"]
        return {"id": self.set_up[key]}

    def connect(self, request: Document) -> Document:
        """Keep a connection up; asked anew again and again."""
        if request["id"] not in self.set_up.values():
            raise Answered(410, {"message": "The endpoint was deleted"})
        self.connected[request["id"]] = request["paths"]
        return {}

    def _relayed(self, path: str, request: Document) -> Document:
        if self.relay == "broken":
            raise Answered(500, {"message": "broken"})
        if self.relay != "up":
            self.connected.clear()
            raise Answered(SILENT if self.relay == "silent" else UNANSWERED, {})
        return self.register(request) if path == "/relay/register" else self.connect(request)

    def _task(self, name: str) -> Task:
        for task in self.tasks:
            if task.id == name:
                return task
        raise refused(404, "TaskNotFound", f"No task found with id {name}", f"/task/{name}")

    # --- the way there ---

    def route(self, method: str, path: str) -> Callable[[Document], Document]:
        """Return what answers a request of the Transfer API."""
        match method, *path.strip("/").split("/"):
            case "GET", "v0.10", "submission_id":
                return lambda _: self.submission_id()
            case "POST", "v0.10", "transfer":
                return self.submit
            case "GET", "v0.10", "task", name:
                return lambda _: self.look_at(name)
            case "POST", "v0.10", "task", name, "cancel":
                return lambda _: self.cancel(name)
            case "POST", "v0.10", "endpoint":
                return self.create_endpoint
        raise refused(404, "ClientError.NotFound", f"No such resource: {path}", path)

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Document:
        """Answer one request; raises `Answered` where that is not 200."""
        kind, _, credential = authorization.partition(" ")
        with self.lock:
            self.requests.append(f"{method} {path}")
            if path == "/v2/oauth2/token":
                login = base64.b64decode(credential).decode() if kind == "Basic" else ""
                return self.token(login, parse_qs(body.decode()))
            if path.startswith("/relay/"):
                return self._relayed(path, json.loads(body))
            if self.status is not None:
                raise refused(self.status, "ServiceUnavailable", "come back later", path)
            if kind != "Bearer" or credential not in self.tokens:
                raise refused(401, "AuthenticationFailed", "Token is not active", path)
            return self.route(method, path)(json.loads(body) if body else {})


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, authorization = urlsplit(self.path).path, self.headers.get("Authorization", "")
            try:
                status, told = 200, service.answer(self.command, path, authorization, body)
            except Answered as answered:
                status, told = answered.status, answered.document
            if status in (UNANSWERED, SILENT):
                if status == SILENT:
                    self.rfile.read(1)  # until the other side goes
                self.close_connection = True
                return
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service that listens."""

    service: Service
    url: str

    def environment(self) -> dict[str, str]:
        """Return the variables that lead all programs here, without credentials."""
        return {
            "GLOBUS_SDK_SERVICE_URL_AUTH": f"{self.url}/",
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": f"{self.url}/",
            "GCP_RELAY_SERVER": self.url.removeprefix("http://"),
        }


@contextmanager
def running(host: str = "127.0.0.1") -> Iterator[Running]:
    """Yield a service on a port of its own."""
    service = Service()
    server = ThreadingHTTPServer((host, 0), _handler(service))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Running(service=service, url=f"http://{host}:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
