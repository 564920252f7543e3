from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from dtp_action.adapters import checkout
from dtp_action.core import catalog, scripts
from dtp_action.core.scripts import File
from dtp_action.errors import UsageError

GOOD = b"#!/bin/sh\necho\n"


def git(where: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    command = ["git", *identity, "-c", "protocol.file.allow=always", *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(where), "LC_ALL": "C"}
    ran = subprocess.run(command, cwd=where, capture_output=True, env=environment, check=True)
    return ran.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "requests"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    return root


def put(root: Path, path: str, content: bytes = GOOD) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def commit(root: Path) -> str:
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--allow-empty", "--message=change")
    return git(root, "rev-parse", "HEAD")


def by_path(files: list[File]) -> dict[str, File]:
    return {file.path: file for file in files}


def refusal(directory: Path, revision: str = "HEAD") -> UsageError:
    with pytest.raises(UsageError) as caught:
        checkout.committed(directory, revision)
    return caught.value


# --- which of two is newer -----------------------------------------------------------------------


def test_commits_are_related_where_they_have_a_history_in_common(
    repository: Path, tmp_path: Path
) -> None:
    first, second = commit(repository), commit(repository)
    stranger = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(stranger))
    put(stranger, "else")
    assert checkout.related(repository, first, second)
    assert checkout.related(repository, second, first)
    assert not checkout.related(stranger, first, commit(stranger))
    assert not checkout.related(repository, "", second)
    assert not checkout.related(repository, "--all", second)
    git(repository, "checkout", "--quiet", "--orphan", "anew")
    put(repository, "anew")
    assert not checkout.related(repository, second, commit(repository))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://github.com/Lab/transfers.git", "github.com/lab/transfers"),
        ("https://token@github.com/lab/transfers", "github.com/lab/transfers"),
        ("git@github.com:lab/transfers.git", "github.com/lab/transfers"),
        ("ssh://git@git.lab.example:2222/a/b/c/", "git.lab.example/a/b/c"),
        ("../transfers", ""),
        ("/srv/git/transfers.git", ""),
        ("", ""),
    ],
)
def test_the_remote_names_the_repository(repository: Path, address: str, told: str) -> None:
    if address:
        git(repository, "remote", "add", "origin", address)
    assert checkout.remote(repository) == told


def test_the_branch_is_the_one_that_is_checked_out(repository: Path) -> None:
    assert checkout.branch(repository) == "main"
    git(repository, "checkout", "--quiet", "--detach", commit(repository))
    assert checkout.branch(repository) == ""


def test_a_commit_follows_those_before_it_and_no_other(repository: Path) -> None:
    first, second = commit(repository), commit(repository)
    git(repository, "checkout", "--quiet", "-b", "other", first)
    put(repository, "of-its-own")
    other = commit(repository)
    assert checkout.follows(repository, first, second)
    assert checkout.follows(repository, first, first)
    assert not checkout.follows(repository, second, first)
    assert not checkout.follows(repository, second, other)


@pytest.mark.parametrize("old", ["0" * 40, "main", "--help", "", "HEAD~1"])
def test_nothing_follows_what_the_clone_does_not_know(repository: Path, old: str) -> None:
    """The ledger's card may name a commit of another clone, or anything."""
    commit(repository)
    assert not checkout.follows(repository, old, commit(repository))


# --- whether a branch has a commit ---------------------------------------------------------------


def test_a_branch_holds_its_own_commits_and_no_others(repository: Path) -> None:
    first, second = commit(repository), commit(repository)
    git(repository, "update-ref", "refs/remotes/origin/main", second)
    git(repository, "checkout", "--quiet", "--detach")
    aside = commit(repository)
    git(repository, "tag", "main", aside)
    git(repository, "tag", "other", first)
    assert checkout.holds(repository, "main", first)
    assert checkout.holds(repository, "main", second)
    assert not checkout.holds(repository, "main", aside)
    assert not checkout.holds(repository, "other", first)
    assert not checkout.holds(repository, "main", "0" * 40)
    assert not checkout.holds(repository, "main", "--all")


# --- a commit ------------------------------------------------------------------------------------


def test_everything_under_dtp_jobs_is_read_at_the_commit_and_nothing_else(repository: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    put(repository, "dtp-jobs/README.md", b"hello")
    put(repository, "dtp-jobs-old/dtp-aws/b.sh")
    put(repository, "other/dtp-jobs/dtp-aws/c.sh")
    first = commit(repository)
    put(repository, "dtp-jobs/dtp-aws/later.sh")
    commit(repository)
    found, files = checkout.committed(repository, first)
    assert found == first
    assert files == [
        File(
            path="dtp-jobs/README.md",
            mode=0o100644,
            blob=git(repository, "hash-object", "dtp-jobs/README.md"),
            size=5,
        ),
        File(
            path="dtp-jobs/dtp-aws/a.sh",
            mode=0o100644,
            blob=git(repository, "hash-object", "dtp-jobs/dtp-aws/a.sh"),
            size=15,
            content=GOOD,
        ),
    ]


def test_what_is_only_in_the_working_tree_is_not_read(repository: Path) -> None:
    file = put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    file.write_bytes(b"#!/bin/sh\nreboot\n")
    put(repository, "dtp-jobs/dtp-aws/b.sh")
    _, files = checkout.committed(repository, "HEAD")
    assert [(file.path, file.content) for file in files] == [("dtp-jobs/dtp-aws/a.sh", GOOD)]


def test_a_subfolder_of_the_checkout_reads_the_same(repository: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    inside = repository / "dtp-jobs" / "dtp-aws"
    assert checkout.committed(inside, "HEAD") == checkout.committed(repository, "HEAD")
    assert checkout.working_tree(inside) == checkout.working_tree(repository)


def test_a_branch_without_scripts_has_none(repository: Path) -> None:
    put(repository, "README.md")
    commit(repository)
    assert checkout.committed(repository, "main")[1] == []


def test_links_and_submodules_are_told_and_not_followed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    (repository / "dtp-jobs/dtp-aws/link.sh").symlink_to(tmp_path / "secret")
    (repository / "dtp-jobs/dtp-gcp").symlink_to("dtp-aws")
    inner = repository / "dtp-jobs/dtp-aws/module.sh"
    inner.mkdir()
    git(inner, "init", "--quiet")
    put(inner, "x.sh")
    commit(inner)
    commit(repository)
    expected = {
        "dtp-jobs/dtp-aws/a.sh": (0o100644, GOOD),
        "dtp-jobs/dtp-aws/link.sh": (0o120000, b""),
        "dtp-jobs/dtp-aws/module.sh": (0o160000, b""),
        "dtp-jobs/dtp-gcp": (0o120000, b""),
    }
    for files in (checkout.committed(repository, "HEAD")[1], checkout.working_tree(repository)):
        assert {file.path: (file.mode, file.content) for file in files} == expected


def test_a_script_that_is_too_large_is_told_by_its_size_and_not_loaded(repository: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/big.sh", b"#" * 300 * 1024)
    commit(repository)
    for files in (checkout.committed(repository, "HEAD")[1], checkout.working_tree(repository)):
        (file,) = files
        assert (file.content, file.size) == (b"", 300 * 1024)
        found = scripts.discover(files, commit="", catalog=catalog.builtin(), settings=None)
        assert [finding.code for finding in scripts.findings(found)] == ["too-large"]


@pytest.mark.parametrize(
    "name", ["sp ace", "-rf", "new\nline", "$(reboot)", "génome", 'quo"te', "tab\t", "a" * 200]
)
def test_any_name_is_read_as_it_is(repository: Path, name: str) -> None:
    put(repository, f"dtp-jobs/dtp-aws/{name}.sh")
    commit(repository)
    for files in (checkout.committed(repository, "HEAD")[1], checkout.working_tree(repository)):
        assert [(file.path, file.content) for file in files] == [
            (f"dtp-jobs/dtp-aws/{name}.sh", GOOD)
        ]


def test_a_name_that_is_no_utf_8_is_read_with_surrogates(repository: Path) -> None:
    folder = repository / "dtp-jobs" / "dtp-aws"
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"a\xff.sh")).write_bytes(GOOD)
    commit(repository)
    for files in (checkout.committed(repository, "HEAD")[1], checkout.working_tree(repository)):
        assert [file.path for file in files] == ["dtp-jobs/dtp-aws/a\udcff.sh"]


def test_awkward_bytes_are_read_exactly(repository: Path) -> None:
    contents = {
        "a": b"",
        "b": b"\n\n",
        "c": b"no newline at the end",
        "d": b"\x00\xff\r\n" * 99,
        "e": b"0123456789 blob 5\nhello\n",
    }
    for name, content in contents.items():
        put(repository, f"dtp-jobs/dtp-aws/{name}.sh", content)
        put(repository, f"dtp-jobs/dtp-gcp/{name}.sh", content)
    commit(repository)
    _, files = checkout.committed(repository, "HEAD")
    assert {file.path: file.content for file in files} == {
        f"dtp-jobs/{folder}/{name}.sh": content
        for folder in ("dtp-aws", "dtp-gcp")
        for name, content in contents.items()
    }


def test_line_ends_are_not_converted_and_no_filter_runs(repository: Path, tmp_path: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh", b"#!/bin/sh\r\necho\r\n")
    commit(repository)
    put(repository, "dtp-jobs/.gitattributes", b"*.sh filter=evil diff=evil text eol=lf\n")
    witness = tmp_path / "ran"
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "core.fsmonitor"):
        git(repository, "config", key, f"touch {witness}; cat")
    _, files = checkout.committed(repository, "HEAD")
    assert files[0].content == b"#!/bin/sh\r\necho\r\n"
    assert not witness.exists()


def test_git_variables_of_the_caller_do_not_lead_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    head = commit(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "0")
    assert checkout.committed(repository, "HEAD")[0] == head


def test_a_replaced_object_does_not_stand_in_for_what_was_committed(repository: Path) -> None:
    file = put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    good = git(repository, "hash-object", str(file))
    file.write_bytes(b"#!/bin/sh\nreboot\n")
    git(repository, "replace", good, git(repository, "hash-object", "-w", str(file)))
    assert checkout.committed(repository, "HEAD")[1][0].content == GOOD


def test_a_shallow_clone_is_enough(repository: Path, tmp_path: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    head = commit(repository)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    found, files = checkout.committed(tmp_path / "shallow", "HEAD")
    assert (found, len(files)) == (head, 1)


def test_a_clone_without_contents_is_refused_with_what_to_do(
    repository: Path, tmp_path: Path
) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    git(repository, "config", "uploadpack.allowFilter", "true")
    options = ("--quiet", "--bare", "--filter=blob:none")
    git(tmp_path, "clone", *options, f"file://{repository}", "partial")
    error = refusal(tmp_path / "partial")
    assert "--filter" in error.hint


@pytest.mark.parametrize(
    "revision", ["nowhere", "--help", "-1", "", "HEAD:dtp-jobs", "a..b", "0" * 40]
)
def test_an_unknown_revision_is_named(repository: Path, revision: str) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    commit(repository)
    error = refusal(repository, revision)
    assert error.message == f"{revision!r} names no commit in {repository}"
    assert error.hint.startswith("Name a branch, a tag or a commit")


def test_a_tag_and_an_abbreviated_commit_are_revisions(repository: Path) -> None:
    head = commit(repository)
    git(repository, "tag", "--annotate", "--message=x", "v1")
    assert checkout.committed(repository, "v1")[0] == head
    assert checkout.committed(repository, head[:10])[0] == head


def test_a_folder_without_git_is_told_so(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message.startswith("git: not a git repository")
    assert error.hint == "Name the checkout with -C, or run inside it."


def test_a_folder_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    assert "cannot change to" in refusal(tmp_path / "nowhere").message


def test_a_machine_without_git_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refusal(tmp_path)
    assert (error.message, bool(error.hint)) == ("git is not installed", True)


def test_a_checkout_of_another_user_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = put(
        tmp_path, "bin/git", b"#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    error = refusal(tmp_path)
    assert error.message == "git: detected dubious ownership"
    assert f"git config --global --add safe.directory '{tmp_path}'" in error.hint


# --- before and after a merge --------------------------------------------------------------------

A, B, C = (f"dtp-jobs/dtp-aws/{name}.sh" for name in "abc")
NEW = b"#!/bin/sh\necho new\n"


@pytest.fixture
def parted(repository: Path) -> Path:
    """Two scripts on main; both branches begin there and `pr` is checked out."""
    put(repository, A)
    put(repository, B)
    commit(repository)
    git(repository, "checkout", "--quiet", "-b", "pr")
    return repository


def on_main(root: Path, path: str, content: bytes) -> None:
    git(root, "checkout", "--quiet", "main")
    put(root, path, content)
    commit(root)
    git(root, "checkout", "--quiet", "pr")


def contents(files: Iterable[File]) -> dict[str, bytes]:
    return {file.path: file.content for file in files}


def test_a_merge_shows_the_base_before_and_both_branches_after(parted: Path) -> None:
    put(parted, A, NEW)
    put(parted, C)
    (parted / B).unlink()
    head = commit(parted)
    merge = checkout.merged(parted, "main", "pr")
    assert merge.commit == head
    assert contents(merge.before) == {A: GOOD, B: GOOD}
    assert contents(merge.after) == {A: NEW, C: GOOD}
    assert merge.changes() == {A: "changed", B: "removed", C: "added"}


def test_what_changed_on_the_base_meanwhile_is_no_change_of_the_merge(parted: Path) -> None:
    put(parted, C)
    commit(parted)
    on_main(parted, A, NEW)
    merge = checkout.merged(parted, "main", "pr")
    assert contents(merge.after) == {A: NEW, B: GOOD, C: GOOD}
    assert merge.changes() == {C: "added"}


LINES = b"".join(b"echo step %d\n" % n for n in range(20))
SCRIPT = b"#!/bin/sh\n" + LINES
TOP, END = SCRIPT.replace(b"step 1\n", b"top\n"), SCRIPT.replace(b"step 18\n", b"end\n")
BOTH = TOP.replace(b"step 18\n", b"end\n")


@pytest.fixture
def longer(repository: Path) -> Path:
    """A script on main that is long enough for two edits of it to merge; `pr` is checked out."""
    commit(repository)
    put(repository, A, SCRIPT)
    put(repository, "dtp-jobs/dtp-gcp/x.sh", SCRIPT + b"echo gcp\n")
    commit(repository)
    git(repository, "checkout", "--quiet", "-b", "pr")
    return repository


def move_on_main(root: Path, old: str, new: str) -> None:
    git(root, "checkout", "--quiet", "main")
    put(root, new, (root / old).read_bytes())
    (root / old).unlink()
    commit(root)
    git(root, "checkout", "--quiet", "pr")


def as_git_does(root: Path) -> dict[str, bytes]:
    """Merge for real; return what is under dtp-jobs then."""
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-ff", "--no-edit", "pr")
    return contents(checkout.committed(root, "HEAD")[1])


def test_two_edits_of_one_script_are_merged(longer: Path) -> None:
    put(longer, A, END)
    commit(longer)
    on_main(longer, A, TOP)
    merge = checkout.merged(longer, "main", "pr")
    assert contents(merge.before)[A] == TOP
    assert contents(merge.after)[A] == BOTH
    assert merge.conflicts == ()
    assert contents(merge.after) == as_git_does(longer)


def test_an_edit_of_what_the_branch_renames_goes_with_it(longer: Path) -> None:
    put(longer, B, SCRIPT)
    (longer / A).unlink()
    commit(longer)
    on_main(longer, A, TOP)
    merge = checkout.merged(longer, "main", "pr")
    assert contents(merge.after)[B] == TOP
    assert merge.changes() == {A: "removed", B: "added"}
    assert contents(merge.after) == as_git_does(longer)


def test_an_edit_follows_what_the_base_renamed(longer: Path) -> None:
    put(longer, A, END)
    commit(longer)
    move_on_main(longer, A, B)
    merge = checkout.merged(longer, "main", "pr")
    assert merge.changes() == {B: "changed"}
    assert contents(merge.after)[B] == END
    assert contents(merge.after) == as_git_does(longer)


def test_a_change_that_the_base_has_already_is_none(longer: Path) -> None:
    put(longer, A, END)
    commit(longer)
    on_main(longer, A, END)
    assert checkout.merged(longer, "main", "pr").changes() == {}


def test_a_conflict_is_named_and_shown_as_the_branch_has_it(parted: Path) -> None:
    put(parted, A, NEW)
    put(parted, "README.md", b"one\n")
    commit(parted)
    git(parted, "checkout", "--quiet", "main")
    put(parted, A, b"#!/bin/sh\necho other\n")
    put(parted, "README.md", b"two\n")
    commit(parted)
    git(parted, "checkout", "--quiet", "pr")
    merge = checkout.merged(parted, "main", "pr")
    assert merge.conflicts == ("README.md", A)
    assert contents(merge.after) == {A: NEW, B: GOOD}


def test_what_one_side_removes_and_the_other_changes_is_a_conflict(parted: Path) -> None:
    (parted / A).unlink()
    put(parted, B, NEW)
    commit(parted)
    git(parted, "checkout", "--quiet", "main")
    put(parted, A, NEW)
    (parted / B).unlink()
    commit(parted)
    merge = checkout.merged(parted, "main", "pr")
    assert merge.conflicts == (A, B)
    assert contents(merge.after) == {B: NEW}


def test_no_program_of_anybodys_configuration_merges(
    longer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"touch {tmp_path}/owned; false"
    (tmp_path / ".gitconfig").write_text(
        f'[merge "own"]\n driver = "{run}"\n[merge]\n default = own\n renames = false\n'
    )
    git(longer, "config", "merge.own.driver", run)
    monkeypatch.setenv("HOME", str(tmp_path))
    put(longer, ".gitattributes", b"* merge=own\n")
    put(longer, B, END)
    (longer / A).unlink()
    commit(longer)
    on_main(longer, A, TOP)
    put(longer, ".git/info/attributes", b"* merge=own\n")
    merge = checkout.merged(longer, "main", "pr")
    assert contents(merge.after)[B] == BOTH
    assert not (tmp_path / "owned").exists()


def old_git(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git as before 2.38, which answers how merge-tree was called then."""
    real = shutil.which("git")
    program = put(
        place,
        "bin/git",
        f'#!/bin/sh\ncase " $* " in *" merge-tree "*) exit 129;; esac\nexec {real} "$@"\n'.encode(),
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_an_older_git_merges_path_by_path_and_that_is_known(
    longer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(longer, A, END)
    put(longer, C, NEW)
    commit(longer)
    on_main(longer, A, TOP)
    assert not checkout.merged(longer, "main", "pr").by_file
    old_git(tmp_path, monkeypatch)
    merge = checkout.merged(longer, "main", "pr")
    assert merge.by_file
    assert contents(merge.after)[A] == END
    assert merge.changes() == {A: "changed", C: "added"}


def test_of_two_branches_that_add_the_same_path_the_second_changes_it(parted: Path) -> None:
    put(parted, C, NEW)
    commit(parted)
    on_main(parted, C, GOOD)
    assert checkout.merged(parted, "main", "pr").changes() == {C: "changed"}


def test_a_merge_commit_and_its_first_parent_are_both_trees(parted: Path) -> None:
    put(parted, C)
    commit(parted)
    on_main(parted, A, NEW)
    git(parted, "checkout", "--quiet", "main")
    git(parted, "merge", "--quiet", "--no-ff", "pr")
    merge = checkout.merged(parted, "HEAD^1", "HEAD")
    assert list(merge.before) == checkout.committed(parted, "HEAD^1")[1]
    assert list(merge.after) == checkout.committed(parted, "HEAD")[1]
    assert merge.changes() == {C: "added"}


def test_the_x_bit_alone_is_a_change_of_mode(parted: Path) -> None:
    (parted / A).chmod(0o755)
    commit(parted)
    assert checkout.merged(parted, "main", "pr").changes() == {A: "mode"}


def test_a_branch_without_changes_changes_nothing(parted: Path) -> None:
    on_main(parted, A, NEW)
    assert checkout.merged(parted, "main", "pr").changes() == {}


def test_the_branchs_own_catalog_is_read_too(parted: Path) -> None:
    put(parted, "dtp-jobs/catalog.yaml", b"version: 1\n")
    put(parted, "dtp-jobs/README.md", b"hello")
    commit(parted)
    after = contents(checkout.merged(parted, "main", "pr").after)
    assert after["dtp-jobs/catalog.yaml"] == b"version: 1\n"
    assert after["dtp-jobs/README.md"] == b""


def test_a_merge_is_read_from_git_and_leaves_everything_as_it_is(parted: Path) -> None:
    put(parted, C)
    commit(parted)
    put(parted, C, NEW)
    state = (git(parted, "status", "--porcelain"), git(parted, "for-each-ref"))
    objects = git(parted, "count-objects")
    assert contents(checkout.merged(parted, "main", "pr").after)[C] == GOOD
    assert (git(parted, "status", "--porcelain"), git(parted, "for-each-ref")) == state
    assert git(parted, "count-objects") == objects


def not_merged(root: Path, base: str = "main", revision: str = "pr") -> UsageError:
    with pytest.raises(UsageError) as caught:
        checkout.merged(root, base, revision)
    return caught.value


def test_a_branch_that_was_begun_anew_is_refused_with_what_to_do(parted: Path) -> None:
    git(parted, "checkout", "--quiet", "--orphan", "new")
    put(parted, C)
    commit(parted)
    error = not_merged(parted, revision="new")
    assert error.message.endswith("have no commit in common here")
    assert "fetch-depth: 0" in error.hint


def test_a_shallow_clone_that_ends_too_early_is_refused_with_what_to_do(
    parted: Path, tmp_path: Path
) -> None:
    put(parted, C)
    commit(parted)
    on_main(parted, A, NEW)
    options = ("--quiet", "--depth=1", "--no-single-branch")
    git(tmp_path, "clone", *options, f"file://{parted}", "shallow")
    error = not_merged(tmp_path / "shallow", "origin/main", "origin/pr")
    assert "fetch-depth: 0" in error.hint


def test_branches_that_parted_more_than_once_are_merged(
    parted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(parted, C)
    ours = commit(parted)
    on_main(parted, A, NEW)
    theirs = git(parted, "rev-parse", "main")
    git(parted, "merge", "--quiet", "--no-edit", theirs)
    git(parted, "checkout", "--quiet", "main")
    git(parted, "merge", "--quiet", "--no-ff", "--no-edit", ours)
    put(parted, B, NEW)
    commit(parted)
    assert checkout.merged(parted, "main", "pr").changes() == {}
    git(parted, "checkout", "--quiet", "pr")
    put(parted, C, NEW)
    commit(parted)
    merge = checkout.merged(parted, "main", "pr")
    assert merge.changes() == {C: "changed"}
    assert contents(merge.after)[B] == NEW
    old_git(tmp_path, monkeypatch)
    error = not_merged(parted)
    assert error.message.endswith("parted more than once")
    assert error.hint.startswith("Merge the base branch into the pull request's branch")


def test_a_shallow_clone_that_holds_where_they_parted_is_merged(
    longer: Path, tmp_path: Path
) -> None:
    put(longer, A, END)
    commit(longer)
    on_main(longer, A, TOP)
    options = ("--quiet", "--depth=2", "--no-single-branch")
    git(tmp_path, "clone", *options, f"file://{longer}", "shallow")
    assert git(tmp_path / "shallow", "rev-list", "--all", "--count") == "3", "one is cut off"
    merge = checkout.merged(tmp_path / "shallow", "origin/main", "origin/pr")
    assert contents(merge.after)[A] == BOTH


@pytest.mark.parametrize(("base", "revision"), [("nowhere", "pr"), ("main", "--all")])
def test_a_merge_of_what_is_no_commit_is_refused(parted: Path, base: str, revision: str) -> None:
    assert "names no commit" in not_merged(parted, base, revision).message


def test_the_tip_of_a_branch_is_the_remotes_else_the_local_one(
    parted: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", "--branch=pr", f"file://{parted}", "clone")
    clone = tmp_path / "clone"
    assert checkout.tip(clone, "main") == git(parted, "rev-parse", "main")
    put(clone, C)
    ahead = commit(clone)
    assert checkout.tip(clone, "pr") == git(parted, "rev-parse", "pr") != ahead
    git(clone, "branch", "mine")
    assert checkout.tip(clone, "mine") == ahead
    with pytest.raises(UsageError, match="no branch 'nowhere'"):
        checkout.tip(clone, "nowhere")


# --- one file ------------------------------------------------------------------------------------


def test_one_file_is_read_at_a_revision(repository: Path) -> None:
    put(repository, "dtp-jobs/catalog.yaml", b"version: 1\n")
    commit(repository)
    put(repository, "dtp-jobs/catalog.yaml", b"changed")
    path = "dtp-jobs/catalog.yaml"
    assert checkout.read_file(repository, "HEAD", path) == b"version: 1\n"


def test_a_file_that_is_not_there_is_none(repository: Path) -> None:
    commit(repository)
    assert checkout.read_file(repository, "HEAD", "dtp-jobs/catalog.yaml") is None


def test_a_link_in_place_of_the_file_is_refused(repository: Path) -> None:
    put(repository, "dtp-jobs/x")
    (repository / "dtp-jobs/catalog.yaml").symlink_to("x")
    commit(repository)
    with pytest.raises(UsageError, match="is not a plain file"):
        checkout.read_file(repository, "HEAD", "dtp-jobs/catalog.yaml")


def test_a_folder_in_place_of_the_file_is_refused(repository: Path) -> None:
    put(repository, "dtp-jobs/catalog.yaml/x")
    commit(repository)
    with pytest.raises(UsageError, match="is not a plain file"):
        checkout.read_file(repository, "HEAD", "dtp-jobs/catalog.yaml")


# --- the working tree ----------------------------------------------------------------------------


def test_the_working_tree_is_read_as_git_would_commit_it(repository: Path) -> None:
    put(repository, "dtp-jobs/dtp-aws/a.sh")
    put(repository, "dtp-jobs/dtp-aws/b.sh").chmod(0o755)
    put(repository, "dtp-jobs/dtp-gcp/README.md", b"hello")
    (repository / "dtp-jobs/dtp-aws/link.sh").symlink_to("nowhere")
    commit(repository)
    _, committed = checkout.committed(repository, "HEAD")
    working = checkout.working_tree(repository)
    assert [(file.path, file.mode, file.blob) for file in working] == [
        (file.path, file.mode, file.blob) for file in committed
    ]


def test_a_folder_without_git_is_read_too(tmp_path: Path) -> None:
    put(tmp_path, "dtp-jobs/dtp-aws/a.sh")
    assert list(by_path(checkout.working_tree(tmp_path))) == ["dtp-jobs/dtp-aws/a.sh"]


def test_only_the_paths_asked_for_are_read_each_once(tmp_path: Path) -> None:
    for name in ("dtp-aws/a", "dtp-aws/b", "dtp-gcp/c"):
        put(tmp_path, f"dtp-jobs/{name}.sh")
    paths = ("dtp-jobs/dtp-gcp", "dtp-jobs/dtp-aws/a.sh", str(tmp_path / "dtp-jobs/dtp-gcp/c.sh"))
    assert list(by_path(checkout.working_tree(tmp_path, paths))) == [
        "dtp-jobs/dtp-aws/a.sh",
        "dtp-jobs/dtp-gcp/c.sh",
    ]


def test_a_path_is_relative_to_where_one_stands(tmp_path: Path) -> None:
    put(tmp_path, "dtp-jobs/dtp-aws/a.sh")
    here = tmp_path / "dtp-jobs" / "dtp-aws"
    for path in ("a.sh", ".", "../dtp-aws", ".."):
        assert list(by_path(checkout.working_tree(here, (path,)))) == ["dtp-jobs/dtp-aws/a.sh"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("elsewhere.sh", "is not under dtp-jobs"),
        ("..", "is not under dtp-jobs"),
        ("/etc/passwd", "is not under dtp-jobs"),
        ("dtp-jobs/../elsewhere.sh", "is not under dtp-jobs"),
        ("dtp-jobs/dtp-aws/nowhere.sh", "does not exist"),
    ],
)
def test_a_path_outside_or_nowhere_is_a_usage_error(tmp_path: Path, path: str, told: str) -> None:
    put(tmp_path, "dtp-jobs/dtp-aws/a.sh")
    put(tmp_path, "elsewhere.sh")
    with pytest.raises(UsageError, match=told):
        checkout.working_tree(tmp_path, (path,))


def test_a_place_without_scripts_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder dtp-jobs"):
        checkout.working_tree(tmp_path)


def test_pipes_and_sockets_are_passed_over_without_waiting(tmp_path: Path) -> None:
    put(tmp_path, "dtp-jobs/dtp-aws/a.sh")
    os.mkfifo(tmp_path / "dtp-jobs/dtp-aws/pipe.sh")
    assert list(by_path(checkout.working_tree(tmp_path))) == ["dtp-jobs/dtp-aws/a.sh"]


def test_a_file_that_may_not_be_read_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "dtp-jobs/dtp-aws/a.sh")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot read dtp-jobs/dtp-aws/a\.sh: Permission denied"):
        checkout.working_tree(tmp_path)
