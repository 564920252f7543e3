"""What the commands are told: which cluster, which branch, what bounds, which GitHub.

Each option is a flag, else a variable `DTP_…`, else a default; read here once, into values.
Adapters are imported when something is opened, so that naming it costs no SDK.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dtp_action import settings
from dtp_action.errors import UsageError

if TYPE_CHECKING:
    from dtp_action.adapters.actions import Runner
    from dtp_action.adapters.kube_login import Login
    from dtp_action.adapters.pulls import GitHubPulls
    from dtp_action.core.model import Identity, Observed
    from dtp_action.core.pulls import Pulls
    from dtp_action.dispatch import Cluster
    from dtp_action.tell import Audience

F = TypeVar("F", bound=Callable[..., Any])

LOCAL = Path("~/.local/state/dtp-requests").expanduser()  # a folder in it for each repository


def option(*names: str, **more: Any) -> Callable[[F], F]:
    """Return an option that is also `DTP_…` in the environment; an empty variable is unset."""
    long = next(name for name in names if name.startswith("--"))
    variable = "DTP_" + long[2:].replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **more)


def options(name: str, form: type, *decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator for options that a command takes as one value, under one name."""
    keys = {field.name for field in fields(form)}

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **values: Any) -> Any:
            taken = {key: values.pop(key) for key in keys}
            return function(*args, **{name: form(**taken)}, **values)

        for decorator in reversed(decorators):
            call = decorator(call)
        return call  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True, kw_only=True)
class Site:
    """Which cluster is meant."""

    cluster: str | None
    kubeconfig: str | None
    context: str | None
    namespace: str | None

    @property
    def is_local(self) -> bool:
        """True for the embedded cluster. Raises UsageError for a kind that there is not."""
        kind = (self.cluster or "").partition(":")[0]
        if kind in ("", "local"):
            return bool(kind)
        hint = "write local or local:DIR; a Kubernetes is named by --kubeconfig and --context"
        raise UsageError(f"no such cluster: {self.cluster}", hint=hint)

    @property
    def folder(self) -> Path:
        """The embedded cluster's folder: as told, else the repository's own, which is printed."""
        named = (self.cluster or "").partition(":")[2]
        if named:
            return Path(named)
        from dtp_action.adapters import checkout

        identity = checkout.identity(click.get_current_context().find_root().obj)
        mark = hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]
        name = identity.parent.name if identity.name == ".git" else identity.stem
        click.echo(f"embedded cluster of this repository: {LOCAL / f'{name}-{mark}'}", err=True)
        return LOCAL / f"{name}-{mark}"

    def open(self) -> Cluster:
        """Return the cluster, reached on its first call; warn where its credential ends soon.

        On a pull request's event: UsageError.
        """
        given = self._given()
        if self.is_local:
            from dtp_action.adapters import local

            return local.connect(self.folder)
        from dtp_action.adapters import kube
        from dtp_action.core import doctor

        cluster = kube.connect(**given)
        told = doctor.credential(cluster.credential_ends, datetime.now(UTC))
        if told.state is doctor.State.WARNING:
            warn(f"the credential in use ends soon: {told.message} ({told.fix})")
        return cluster

    def login(self) -> Login:
        """Return the way to a Kubernetes, before anything is asked of it; errors as of `open`."""
        from dtp_action.adapters import kube_login

        return kube_login.login(**self._given())

    def _given(self) -> dict[str, Any]:
        runner = workflow()
        if runner:
            runner.refuse_cluster()
        return {
            "kubeconfig": self.kubeconfig,
            "context": self.context,
            "namespace": self.namespace,
            "strict": runner is not None,
            "mask": runner.mask if runner else lambda _secret: None,
        }


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What counts as asked for, and whose ledger is meant."""

    branch: str | None
    commit: str | None
    catalog: str | None
    source: str | None
    max_new: int | None

    @classmethod
    def of(cls, commit: str) -> Branch:
        """Return the branch at one commit, to look at: the environment says the rest."""
        most = os.environ.get("DTP_MAX_NEW", "")
        return cls(
            branch=None,
            commit=commit,
            catalog=os.environ.get("DTP_CATALOG") or None,
            source=None,
            max_new=int(most) if most.isdecimal() else None,
        )

    @property
    def name(self) -> str | None:
        """The cluster's branch, as told or as GitHub says."""
        return self.branch or settings.github_branch(os.environ)

    @property
    def told(self) -> str | None:
        """The branch that the ledger belongs to, as told or as GitHub says."""
        return settings.source(self.source, os.environ, self.branch)

    @property
    def is_head(self) -> bool:
        """True where what is checked out counts."""
        return not (self.commit or self.branch)

    def revision(self, directory: Path) -> str:
        """Return what names the commit whose jobs count: as told, the branch's tip, or HEAD."""
        if self.commit or not self.branch:
            return self.commit or "HEAD"
        from dtp_action.adapters import checkout

        return checkout.tip(directory, self.branch)

    def ledger(self, site: Site, directory: Path, commit: str, observed: Observed) -> str:
        """Return the branch that the ledger belongs to: as told, or as the checkout shows.

        UsageError where nothing says it: it is never invented.
        """
        if self.told:
            return self.told
        if observed.identity:
            return self._as_shown(observed.identity, directory, commit)
        if site.is_local:
            return "local"
        raise UsageError(
            "nothing says which branch this is, and the namespace has no ledger yet",
            hint="give it once with --source, for example --source github.com/lab/transfers#main",
        )

    def _as_shown(self, card: Identity, directory: Path, commit: str) -> str:
        from dtp_action.adapters import checkout
        from dtp_action.core import planner

        here = planner.Here(
            repository=checkout.remote(directory),
            branch=self.name or checkout.branch(directory),
            related=lambda followed: checkout.related(directory, followed, commit),
        )
        return planner.source_here(card, here)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What bounds a run."""

    first_run: bool = False
    adopt: bool = False
    job: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Whose pull requests are told, and how."""

    github_token: str | None
    github_repository: str | None
    github_api_url: str | None
    cluster_name: str | None
    comment: str
    log_in_comment: str

    def pulls(self) -> Pulls | None:
        """Return GitHub, reached on its first call; None where there is no token."""
        return github(
            github_token=self.github_token,
            github_repository=self.github_repository,
            github_api_url=self.github_api_url,
        )

    def name(self, branch: str | None) -> str:
        """Return the cluster's name in comments and statuses."""
        return self.cluster_name or branch or ""

    def audience(self, branch: str | None, pulls: Pulls | None) -> Audience | None:
        """Return who is told; None where GitHub is not reached."""
        if pulls is None:
            return None
        from dtp_action.tell import Audience

        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        repository = self.github_repository or os.environ.get("GITHUB_REPOSITORY")
        runner = workflow()
        return Audience(
            pulls=pulls,
            cluster=self.name(branch),
            comment=self.comment == "yes",
            logs={"yes": True, "no": False}.get(self.log_in_comment),
            repository_url=f"{server}/{repository}",
            run_url=runner.run_url if runner else "",
        )


NOBODY = Hub(
    github_token=None,
    github_repository=None,
    github_api_url=None,
    cluster_name=None,
    comment="no",
    log_in_comment="no",
)


def github(
    *, github_token: str | None, github_repository: str | None, github_api_url: str | None
) -> GitHubPulls | None:
    """Return GitHub, reached on its first call; None where there is no token."""
    repository = github_repository or os.environ.get("GITHUB_REPOSITORY")
    if not github_token or not repository:
        return None
    from dtp_action.adapters.pulls import PUBLIC, GitHubPulls

    api_url = github_api_url or os.environ.get("GITHUB_API_URL") or PUBLIC
    return GitHubPulls(repository=repository, token=github_token, api_url=api_url)


def workflow() -> Runner | None:
    """Return the runner of a GitHub workflow that this is a step of, else None."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return None
    from dtp_action.adapters import actions

    return actions.runner(os.environ)


def warn(message: str) -> None:
    """Tell what could not be done and does no harm; in a workflow, beside the run."""
    click.echo(f"warning: {message}", err=True)
    if runner := workflow():
        runner.annotate("warning", message)


catalog_option = option(
    "--catalog", metavar="FILE", help="Protocol rows; else dtp-jobs/catalog.yaml."
)
format_option = option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
request_option = option(
    "--request", default="", metavar="KEY", help="Given again, the same key does nothing."
)
site_options = options(
    "site",
    Site,
    option("--cluster", metavar="WHERE",
           help="`local[:DIR]`: the embedded one, this repository's or in DIR; else kubectl's."),
    option("--kubeconfig", metavar="FILE",
           help="How to reach the cluster, as kubectl has it; also the text, plain or in base64."),
    option("--context", metavar="NAME", help="The kubeconfig's context."),
    option("--namespace", "-n", metavar="NAME", help="The namespace of the jobs."),
)  # fmt: skip
branch_option = option(
    "--branch", metavar="NAME", help="The cluster's branch; else the one checked out."
)
commit_option = option(
    "--commit", metavar="COMMIT", help="The commit whose jobs count; else the branch's last."
)
branch_options = options(
    "branch",
    Branch,
    branch_option,
    commit_option,
    catalog_option,
    option("--source", metavar="TEXT", help="The branch that the ledger belongs to."),
    option("--max-new", type=click.IntRange(0),
           help="Hold all new jobs when more than this many would start in one run (25)."),
)  # fmt: skip
bounds_options = options(
    "bounds",
    Bounds,
    option("--first-run", is_flag=True, help="Start them, however many."),
    option("--adopt", is_flag=True, help="Record all new jobs as done, without running them."),
    option("--job", metavar="REF", help="Do nothing about other jobs."),
)  # fmt: skip


yes_or_no = click.Choice(["yes", "no"])
log_option = option(
    "--log-in-comment", type=click.Choice(["auto", "yes", "no"]), default="auto",
    show_default=True, help="Logs on GitHub; auto: not in public repositories.",
)  # fmt: skip
repository_option = option(
    "--github-repository", metavar="OWNER/NAME", help="Else the workflow's own."
)
api_url_option = option(
    "--github-api-url", metavar="URL", help="Else the workflow's own, or github.com's."
)
hub_options = options(
    "hub",
    Hub,
    option("--github-token", metavar="TOKEN",
           help="Enables comments and statuses on pull requests."),
    repository_option,
    api_url_option,
    option("--cluster-name", metavar="NAME",
           help="Names the cluster in comments and statuses; else the branch's name."),
    option("--comment", type=yes_or_no, default="yes", show_default=True,
           help="Whether pull requests get comments."),
    log_option,
)  # fmt: skip
