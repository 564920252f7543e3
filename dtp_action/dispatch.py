"""The loop: look, plan, apply, look again. Declares the port that it needs of a cluster.

Takes no decision about jobs (core does) and knows no SDK (adapters do).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    Draft,
    Entry,
    Identity,
    Intent,
    JobView,
    Outcome,
    PodView,
    Spec,
)


@dataclass(frozen=True, kw_only=True)
class Started:
    """The Job of the entry is there, made now or before."""

    job_uid: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The cluster would not have the Job: for good (policy, invalid), or for now (quota)."""

    reason: str
    for_good: bool


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The Job's name belongs to something that is not ours."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An entry with all that its Job is made from."""

    entry: Entry
    script: bytes
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger's index: the identity card (None before the first entry) and all entries."""

    identity: Identity | None
    entries: tuple[Entry, ...]


class StaleError(Exception):
    """Somebody else wrote the entry since it was read: look again, then decide."""


class Cluster(Protocol):
    """What dispatch needs of a cluster. Every write is idempotent or refuses when it is stale.

    Each call may raise ClusterRefusedError (401, 403, no namespace) or UnavailableError; a list is
    whole or raises. Creating what exists is an answer, not an error.
    """

    def settings(self) -> ClusterSettings:
        """Return what the admin decided. Raises UsageError where it is missing or wrong."""

    def namespace_uid(self) -> str:
        """Return what tells this namespace from another of the same name."""

    def now(self) -> datetime:
        """Return the cluster's time, as of its last answer."""

    def ledger(self) -> Ledger:
        """List the entries, metadata only."""

    def jobs(self) -> tuple[JobView, ...]:
        """List our Jobs."""

    def pods(self) -> tuple[PodView, ...]:
        """List the Pods of our Jobs."""

    def events(self, uid: str) -> tuple[str, ...]:
        """Return the messages about one object, oldest first, each as `Reason: message`."""

    def identify(self, identity: Identity) -> Identity:
        """Make the identity card unless there is one; return the one that is there."""

    def rename(self, source: str) -> None:
        """Write another source on the identity card."""

    def record(self, draft: Draft) -> Entry:
        """Make the entry of a new attempt; return the one of that name that is there."""

    def read(self, name: str) -> Recorded | None:
        """Return an entry with its data, or None."""

    def start(self, entry: Entry) -> Started | Refused | Taken:
        """Make the entry's Job from what the entry records. Never a second one."""

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        """Write into the entry that its Job was seen. Raises StaleError."""

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        """Write the intent to end an attempt and keep its log's tail. Raises StaleError."""

    def stop(self, entry: Entry) -> None:
        """Let the Job's deadline pass. No Job, or one that ended: nothing."""

    def settle(self, entry: Entry, outcome: Outcome, tail: str) -> Entry:
        """Write `<name>-end` (the first one written counts), then close the entry.

        Raises StaleError.
        """

    def retire(self, entry: Entry, ttl: int) -> None:
        """Set how many seconds after its end the Job is removed."""

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        """Return the last lines of a Pod's log, at most 64 KiB; None when there is none to have."""

    def follow(self, pod: PodView, *, lines: int | None) -> Iterator[bytes]:
        """Yield a Pod's log, from its last `lines` on (None: all), until it ends."""

    def kept_tail(self, name: str) -> str | None:
        """Return the tail kept in the ledger when the attempt ended, or None."""


__all__: Sequence[str] = ()
