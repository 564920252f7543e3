"""Every error that a person may meet, with its exit code and what to do next.

Raised anywhere, caught once, in `cli`. Knows nothing of the rest of the package.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes: a public interface (docs/reference/exit-codes.md is made from it)."""

    DONE = 0
    BAD_OUTCOME = 1
    USAGE = 2
    CONFLICT = 3
    CLUSTER_REFUSED = 4
    GITHUB_REFUSED = 5
    UNAVAILABLE = 6
    BUG = 70
    INTERRUPTED = 130


EXIT_MEANING = {
    Exit.DONE: "done, or nothing to do; also with scripts rejected or attempts still open",
    Exit.BAD_OUTCOME: "`check` or `run` found errors, or `doctor` problems, or `images` what needs"
    " attention (without `--issue`), or an attempt of this run ended badly (with `--wait`), or what"
    " cannot be read holds a job (`dispatch`)",
    Exit.USAGE: "wrong usage, configuration or job name, or a repository that is not the ledger's",
    Exit.CONFLICT: "`retry` or `cancel` was refused in the present state of the job",
    Exit.CLUSTER_REFUSED: "the cluster refused: credentials, permissions or namespace",
    Exit.GITHUB_REFUSED: "GitHub refused",
    Exit.UNAVAILABLE: "the cluster, GitHub or a registry is unavailable for now: run again",
    Exit.BUG: "a bug of ours",
    Exit.INTERRUPTED: "interrupted",
}


class DtpError(Exception):
    """What went wrong and why (`message`), what to do next (`hint`), and the exit code."""

    exit_code: Exit = Exit.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DtpError):
    """The request or the configuration cannot be understood or does not fit the repository."""

    exit_code = Exit.USAGE


class ConflictError(DtpError):
    """A retry or cancel that the job's present state does not allow."""

    exit_code = Exit.CONFLICT


class ClusterRefusedError(DtpError):
    """401, 403, or a namespace that is not there: no use in trying again unchanged."""

    exit_code = Exit.CLUSTER_REFUSED


class GitHubRefusedError(DtpError):
    """401, 403, 404 or an invalid request: no use in trying again unchanged."""

    exit_code = Exit.GITHUB_REFUSED


class UnavailableError(DtpError):
    """Nothing was decided on half an answer; running again is safe and is the remedy."""

    exit_code = Exit.UNAVAILABLE


class UnreadableError(Exception):
    """An object of the ledger cannot be read: whoever needs it holds what it was needed for."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"ConfigMap {name} cannot be read: {why}")
        self.name = name
        self.why = why


class StaleError(Exception):
    """Somebody else wrote the entry since it was read: look again, then decide."""
