"""What the workflow's maintainer decides, read from the environment once, at the edge."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from urllib.parse import urlsplit

from dtp_action.errors import UsageError


def source(flag: str | None, environ: Mapping[str, str], known: str | None) -> str:
    """Return the branch a ledger belongs to: as told, as GitHub says, or as the ledger has it.

    Raises UsageError where nothing says it: it is never invented.
    """
    found = flag or github_source(environ) or known
    if found:
        return found
    raise UsageError(
        "nothing says which branch this is, and the namespace has no ledger yet",
        hint="give it once with --source, for example --source github.com/lab/transfers#main",
    )


def github_source(environ: Mapping[str, str]) -> str | None:
    """Return `<host>/<repository id>#<branch>` in a GitHub workflow run, else None."""
    repository = environ.get("GITHUB_REPOSITORY_ID")
    server = environ.get("GITHUB_SERVER_URL")
    on_branch = environ.get("GITHUB_REF_TYPE") == "branch"
    branch = environ.get("DTP_BRANCH") or (environ.get("GITHUB_REF_NAME") if on_branch else None)
    if not (repository and server and branch):
        return None
    return f"{urlsplit(server).hostname}/{repository}#{branch}"


def actor(environ: Mapping[str, str]) -> str:
    """Return who asks, for the record: GitHub's user, else the login name."""
    return environ.get("GITHUB_ACTOR") or getpass.getuser()
