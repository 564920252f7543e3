"""A requests repository in real git whose pull requests the stand-in GitHub knows.

Merges as GitHub does: by a merge commit, squashed (a new author time), or rebased (the author times
stay, the commits are new).
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.github.fake import GitHub, Pull

DAY = 86_400
BEGIN = 1_900_000_000  # seconds since 1970


@dataclass
class Branches:
    """The repository; time passes by a day with each commit."""

    root: Path
    github: GitHub
    days: int = 0

    def __post_init__(self) -> None:
        self.github.git = self
        self.root.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", "--template=")
        self.commit({"README.md": "requests\n"})

    def git(self, *arguments: str, authored: int | None = None) -> str:
        """Run git; return what it prints."""
        now = BEGIN + DAY * self.days
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LC_ALL": "C",
            "GIT_AUTHOR_DATE": f"{now if authored is None else authored} +0200",
            "GIT_COMMITTER_DATE": f"{now} +0000",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "GitHub",
            "GIT_COMMITTER_EMAIL": "noreply@example.org",
        }
        ran = subprocess.run(
            ["git", *arguments], cwd=self.root, capture_output=True, env=environment, check=True
        )
        return ran.stdout.decode().strip()

    def commit(self, files: dict[str, str | None], message: str = "change") -> str:
        """Commit these files where HEAD is; None removes one."""
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return self.commit_all(message)

    def commit_all(self, message: str = "change", *, authored: int | None = None) -> str:
        """Commit the working tree as it is."""
        self.days += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}", authored=authored)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        """Return the commit that a name stands for."""
        return self.git("rev-parse", name)

    def pull(
        self,
        number: int,
        *commits: dict[str, str | None],
        base: str = "main",
        start: str = "",
        author: str = "ada",
        fork: str = "",
    ) -> Pull:
        """Open a pull request with these commits, on a branch that begins at `start`.

        The branch of a fork is not here, only what GitHub keeps of it: `refs/pull/…/head`.
        """
        head = self.head(start or base)
        pull = self.github.pull(
            number, base=base, branch=f"pull-{number}", author=author, fork=fork, head=head
        )
        self.push(pull, *commits)
        return pull

    def push(self, pull: Pull, *commits: dict[str, str | None]) -> str:
        """Add commits to a pull request's branch, and stay there."""
        self.git("checkout", "--quiet", "--detach", pull.head)
        head = pull.head
        for files in commits:
            head = self.commit(files, f"work on {pull.number}")
        self._headed(pull, head)
        if not pull.fork:
            self.git("checkout", "--quiet", "-B", pull.branch)
        return pull.head

    def opened(self, pull: Pull) -> None:
        """Take up the commits of a pull request whose branch somebody pushed."""
        self._headed(pull, self.head(f"refs/heads/{pull.branch}"))

    def compare(self, ref: str, commit: str) -> str | None:
        """Return how a commit is to a branch, in GitHub's words; None where there is no such."""
        try:
            tip, head = self.head(f"{ref}^{{commit}}"), self.head(f"{commit}^{{commit}}")
            parted = self.git("merge-base", tip, head)
        except subprocess.CalledProcessError:
            return None
        words = {(True, True): "IDENTICAL", (True, False): "AHEAD", (False, True): "BEHIND"}
        return words.get((parted == tip, parted == head), "DIVERGED")

    def _headed(self, pull: Pull, head: str) -> None:
        listed = self.git("log", "--reverse", "--format=%at", f"{pull.base}..{head}").split()
        pull.head, pull.authored = head, tuple(int(seconds) for seconds in listed)
        self.git("update-ref", f"refs/pull/{pull.number}/head", head)

    def merge(self, pull: Pull, by: str = "grace") -> str:
        """Merge by a merge commit."""
        self.days += 1
        self.git("checkout", "--quiet", pull.base)
        self.git("merge", "--quiet", "--no-ff", f"--message=Merge #{pull.number}", pull.head)
        return self._merged(pull, by=by)

    def squash(self, pull: Pull, by: str = "grace") -> str:
        """Merge as one new commit."""
        self.git("checkout", "--quiet", pull.base)
        self.git("merge", "--quiet", "--squash", pull.head)
        self.commit_all(f"Squash #{pull.number}")
        return self._merged(pull, by=by)

    def rebase(self, pull: Pull, by: str = "grace") -> list[str]:
        """Merge as new commits with the old author times; return them, oldest first."""
        self.git("checkout", "--quiet", pull.base)
        fork = self.git("merge-base", pull.base, pull.head)
        work = self.git("rev-list", "--reverse", "--no-merges", f"{fork}..{pull.head}").split()
        brought = []
        for sha in work:
            self.git("cherry-pick", "--no-commit", sha)
            authored = int(self.git("show", "--no-patch", "--format=%at", sha))
            brought.append(self.commit_all(f"Rebase #{pull.number}", authored=authored))
        self._merged(pull, *brought, by=by)
        return brought

    def _merged(self, pull: Pull, *brought: str, by: str) -> str:
        head = self.head()
        self.github.merge(pull, head, *brought, by=by)
        return head
