"""What the adapter asks of an API server, and how it is told no: Kubernetes' words, plain dicts.

`kube_http` answers from a real one, `local` out of a directory. Knows no rule about jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from dtp_action.errors import ClusterRefusedError, Exit

Wire = dict[str, Any]
JSON = "application/json"
METADATA_LIST = JSON + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TRIES = 5
RUN_AGAIN = "Nothing was decided on half an answer: run again."
# What is made to be answered, and kept nowhere.
QUESTIONS = ("selfsubjectreviews", "selfsubjectaccessreviews", "serviceaccounts/token")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request."""

    verb: str  # get, list, create or patch
    resource: str
    name: str = ""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Wire | None = None
    accept: str = JSON

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}".strip()

    @property
    def repeatable(self) -> bool:
        """Tell whether twice is as good as once: Jobs are patched whatever version they have."""
        nothing_made = self.resource in QUESTIONS or "dryRun" in self.query
        whatever = (self.verb, self.resource) == ("patch", "jobs")
        return self.verb in ("get", "list") or nothing_made or whatever


class AnswerError(ClusterRefusedError):
    """The API server's no: `status`, `reason` and `said` are Kubernetes' own, the rest is ours."""

    def __init__(
        self, status: int, reason: str, said: str, *, message: str = "", hint: str = ""
    ) -> None:
        super().__init__(message or f"HTTP {status}: {said or reason}", hint=hint)
        if status >= 500:  # a webhook that does not answer: no more than that
            self.exit_code = Exit.UNAVAILABLE
        self.status = status
        self.reason = reason
        self.said = said


class LostError(Exception):
    """No answer came that could be used.

    `pause`: seconds after which to ask again where it surely took no effect; None: nobody knows.
    """

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class Api(Protocol):
    """A connection to one namespace. Safe for threads."""

    namespace: str
    requests: list[str]  # what was asked so far, as `verb resource name`

    def now(self) -> datetime:
        """Return the server's time, as of its last answer."""

    def ask(self, request: Request) -> Wire:
        """Return the object or list asked for. Raises AnswerError, UnavailableError.

        Raises LostError where a request that is not repeatable may have taken effect or not.
        """

    def stream(self, request: Request, silence: float) -> Iterator[bytes]:
        """Yield a log as it comes. Raises AnswerError, UnavailableError, also half-way.

        `silence`: seconds to wait for each byte.
        """
