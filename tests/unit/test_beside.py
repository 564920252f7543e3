"""Files beside a script: whose they are, what they make of a job, and what is told of them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.adapters import checkout
from dtp_action.core import beside, catalog, ledger, manifests, preview, scripts, secrets
from dtp_action.core.model import Desired, Finding, JobFile, Severity, Wanted
from dtp_action.core.preview import Change, Merge, Will
from dtp_action.core.scripts import File
from tests import builders as b
from tests.unit.test_checkout import commit, git, put, repository

__all__ = ["repository"]

ROWS = catalog.builtin()
SCRIPT = "dtp-jobs/dtp-sra-tools/runs.sh"
LIST = "dtp-jobs/dtp-sra-tools/runs.d/acc.txt"
LOOP = b'#!/bin/bash\nset -eu\nwhile read -r run; do prefetch "$run"; done <"$DTP_FILES/acc.txt"\n'
BARE = LOOP.replace(b'"$DTP_FILES/acc.txt"', b"acc.txt")
RUNS = b"SRR000001\nSRR000002\n"
Branch = dict[str, bytes]


def a_file(path: str, content: bytes = RUNS, mode: int = 0o100644, size: int | None = None) -> File:
    return File(path=path, mode=mode, blob=b.a_blob(content), content=content, size=size)


def discover(*files: File) -> Desired:
    return scripts.discover(files, commit=b.COMMIT, catalog=ROWS, settings=None)


def of(branch: Branch) -> list[File]:
    return [a_file(path, content) for path, content in branch.items()]


def job(*files: File, script: bytes = LOOP) -> Wanted:
    """Return the one job that these files and the script make."""
    (wanted,) = discover(a_file(SCRIPT, script), *files).wanted.values()
    return wanted


def told(wanted: Wanted) -> list[tuple[str, int, str]]:
    return [(one.code, one.line, one.severity.value) for one in wanted.findings]


def only(findings: tuple[Finding, ...]) -> Finding:
    (finding,) = findings
    return finding


# --- whose they are ------------------------------------------------------------------------------


def test_what_is_in_the_folder_named_after_the_script_belongs_to_its_job() -> None:
    deep = a_file("dtp-jobs/dtp-sra-tools/runs.d/more/of them/.filter", b"\0\xff")
    wanted = job(a_file(LIST), deep)
    assert wanted.script
    assert not wanted.findings
    assert wanted.script.files == (
        JobFile(path="acc.txt", content=RUNS),
        JobFile(path="more/of them/.filter", content=b"\0\xff"),
    )


def test_a_script_in_the_folder_is_a_file_and_no_job() -> None:
    helper = a_file("dtp-jobs/dtp-sra-tools/runs.d/helper.sh", b"#!/bin/sh\n")
    wanted = job(helper, script=b'#!/bin/sh\n. "$DTP_FILES/helper.sh"\n')
    assert wanted.script
    assert [file.path for file in wanted.script.files] == ["helper.sh"]
    assert not wanted.findings


def test_what_git_alone_reads_is_no_file_of_the_job() -> None:
    wanted = job(a_file("dtp-jobs/dtp-sra-tools/runs.d/.gitkeep", b""), script=b"#!/bin/sh\ntrue\n")
    assert wanted.script
    assert not wanted.script.files
    assert not wanted.findings


def test_jobs_whose_names_end_in_d_have_files_of_their_own() -> None:
    found = discover(
        a_file("dtp-jobs/dtp-sra-tools/x.sh", LOOP),
        a_file("dtp-jobs/dtp-sra-tools/x.d.sh", LOOP),
        a_file("dtp-jobs/dtp-sra-tools/x.d/acc.txt", b"of x\n"),
        a_file("dtp-jobs/dtp-sra-tools/x.d.d/acc.txt", b"of x.d\n"),
    )
    assert {
        str(ref): [file.content for file in one.script.files if one.script]
        for ref, one in found.wanted.items()
        if one.script
    } == {"dtp-sra-tools/x": [b"of x\n"], "dtp-sra-tools/x.d": [b"of x.d\n"]}
    assert not scripts.findings(found)


# --- what they make of the job -------------------------------------------------------------------


def test_a_job_without_files_is_known_by_its_script_alone() -> None:
    assert job(script=b"#!/bin/sh\ntrue\n").blob == b.a_blob(b"#!/bin/sh\ntrue\n")


def test_its_id_is_that_of_a_git_tree_of_script_and_files(repository: Path) -> None:
    members = {"acc.txt": RUNS, "a/b c": b"1", "a.b": b"2", "ü/ä": b"", "files/script": b"3"}
    put(repository, "script", LOOP)
    for path, content in members.items():
        put(repository, f"files/{path}", content)
    commit(repository)
    folder = beside.folder(SCRIPT)
    files = [a_file(f"{folder}/{path}", content) for path, content in members.items()]
    assert job(*files).blob == git(repository, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize(
    "other",
    [
        [a_file(LIST, b"SRR000003\n")],
        [a_file(LIST.replace("acc", "other"))],
        [a_file(LIST), a_file(LIST + ".gz")],
        [],
    ],
)
def test_another_list_makes_another_job_of_it(other: list[File]) -> None:
    assert job(*other).blob != job(a_file(LIST)).blob


def test_the_x_bit_does_not_count() -> None:
    assert job(a_file(LIST, mode=0o100755)).blob == job(a_file(LIST)).blob


def test_the_same_script_with_other_files_is_no_copy() -> None:
    two = "dtp-jobs/dtp-sra-tools/two.sh"
    same = [a_file(SCRIPT, LOOP), a_file(LIST), a_file(two, LOOP)]
    copied = discover(*same, a_file("dtp-jobs/dtp-sra-tools/two.d/acc.txt"))
    assert [one.code for one in scripts.findings(copied)] == ["copy"]
    other = discover(*same, a_file("dtp-jobs/dtp-sra-tools/two.d/acc.txt", b"SRR000009\n"))
    assert not scripts.findings(other)


# --- how they are recorded and mounted -----------------------------------------------------------


def test_the_entry_holds_the_bytes_and_the_spec_their_paths() -> None:
    files = (JobFile(path="a b/ü.txt", content=b"1\r\n"), JobFile(path="z", content=b"\0\xff"))
    spec = b.a_spec(files=tuple(file.path for file in files))
    made = ledger.entry_manifest(b.a_draft(files=files, spec=spec))
    held = {key: base64.b64decode(text) for key, text in made["binaryData"].items()}
    assert held == {"file-1": b"1\r\n", "file-2": b"\0\xff"}
    assert ledger.load_spec(made["data"]["attempt.json"]).files == ("a b/ü.txt", "z")
    marks = {"uid": "1", "resourceVersion": "1"}
    assert ledger.load_entry(made["metadata"] | marks).files == 2
    volumes = manifests.job(b.an_entry(), spec)["spec"]["template"]["spec"]["volumes"]
    (entry,) = (one["configMap"] for one in volumes if one["name"] == "entry")
    assert entry["items"] == [
        {"key": "script", "path": "script"},
        {"key": "file-1", "path": "files/a b/ü.txt", "mode": 0o755},
        {"key": "file-2", "path": "files/z", "mode": 0o755},
    ]


def test_an_entry_from_before_there_were_files_is_read() -> None:
    made = ledger.entry_manifest(b.a_draft())
    assert "binaryData" not in made
    before = made["data"]["attempt.json"].replace('  "files": [],\n', "")
    assert "files" not in before
    assert ledger.load_spec(before) == b.a_spec()


def test_the_longest_names_leave_room_for_the_rest_of_the_entry() -> None:
    """The chart admits 64 KiB of attempt.json; a character outside ASCII takes 6 bytes there."""
    paths = tuple(f"{n:03}{'ü' * ((beside.LONGEST - 3) // 2)}" for n in range(beside.MOST_FILES))
    files = tuple(JobFile(path=path, content=b"") for path in paths)
    made = ledger.entry_manifest(b.a_draft(files=files, spec=b.a_spec(files=paths)))
    assert len(made["data"]["attempt.json"]) < 56 * 1024


# --- what keeps them from being recorded ---------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (a_file(LIST, b"", mode=0o120000), "is a symbolic link: put the file itself there"),
        (a_file(LIST, b"", mode=0o160000), "is a submodule: put the file itself there"),
        (
            a_file(LIST, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            "is a Git LFS pointer",
        ),
        (a_file(LIST + "\n"), "cannot be used under this name"),
        (a_file(LIST + "/../../../x"), "cannot be used under this name"),
        (a_file(LIST + "\udcff"), "cannot be used under this name"),
        (a_file(LIST + "x" * beside.LONGEST), "cannot be used under this name"),
        (a_file(LIST, "SRR\u200b1\n".encode()), "line 1 holds U+200B ZERO WIDTH SPACE"),
        (
            a_file(LIST, b"", size=beside.MOST_BYTES),
            "holds 701 KiB with its files, and at most 700 KiB are recorded",
        ),
        (a_file(LIST, b"# keys\nAWS_SECRET" + b"_PASSWORD=l0velace\n"), "line 2, looks like"),
    ],
)
def test_what_cannot_be_recorded_is_an_error_that_names_the_file(file: File, said: str) -> None:
    wanted = job(file)
    assert not wanted.script
    error = next(one for one in wanted.findings if one.severity is Severity.ERROR)
    assert said in error.message
    assert "runs.d/acc.txt" in error.message
    assert error.path == SCRIPT
    assert "l0velace" not in str(wanted)


def test_no_more_files_than_there_is_room_for() -> None:
    many = [a_file(f"{beside.folder(SCRIPT)}/{n}") for n in range(beside.MOST_FILES + 1)]
    wanted = job(*many, script=b'#!/bin/sh\nls "$DTP_FILES"\n')
    assert "has 101 files" in only(wanted.findings).message
    assert not wanted.script
    assert job(*many[1:], script=b'#!/bin/sh\nls "$DTP_FILES"\n').script


# --- what would surprise -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SRR1\r\nSRR2\r\n", "has Windows line ends"),
        (b"\xef\xbb\xbfSRR1\n", "begins with a byte order mark"),
        ("SRR1\n".encode("utf-16"), "is in UTF-16"),
        (b"SRR1\nSRR2", "has no newline at its end"),
    ],
)
def test_a_list_whose_lines_a_loop_reads_wrong_is_told_of(content: bytes, said: str) -> None:
    wanted = job(a_file(LIST, content))
    finding = only(wanted.findings)
    assert wanted.script
    assert (finding.code, finding.severity) == ("file-text", Severity.WARNING)
    assert said in finding.message


@pytest.mark.parametrize(
    ("content", "script"),
    [
        (b"SRR1\r\n", LOOP.replace(b'"$run"', b"\"${run%$'\\r'}\"")),
        (b"SRR1", LOOP.replace(b"read -r run", b'read -r run || [ -n "$run" ]')),
        (b"SRR1", b'#!/bin/sh\nxargs prefetch <"$DTP_FILES/acc.txt"\n'),
        (b"\x1f\x8b\r\n\0", LOOP),
        (b"", LOOP),
    ],
)
def test_a_list_that_the_script_reads_right_is_not_told_of(content: bytes, script: bytes) -> None:
    assert not job(a_file(LIST, content), script=script).findings


# --- what the script reads, and what its job has -------------------------------------------------


def test_a_file_that_is_read_as_if_it_were_in_the_directory_is_corrected() -> None:
    wanted = job(a_file(LIST), script=BARE)
    finding = only(wanted.findings)
    assert told(wanted) == [("file-unread", 3, "warning")]
    assert finding.message == (
        '`acc.txt` is not in the job\'s directory: read it as `"$DTP_FILES/acc.txt"`'
    )
    assert finding.fix.encode() in LOOP
    corrected = BARE.splitlines()
    corrected[finding.line - 1] = finding.fix.encode()
    assert not job(a_file(LIST), script=b"\n".join(corrected)).findings


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("aria2c -i acc.txt", 'aria2c -i "$DTP_FILES/acc.txt"'),
        ("aria2c --input-file='acc.txt'", 'aria2c --input-file="$DTP_FILES/acc.txt"'),
        ('xargs prefetch <"./acc.txt"', 'xargs prefetch <"$DTP_FILES/acc.txt"'),
        ("curl -d @acc.txt https://example.org", 'curl -d @"$DTP_FILES/acc.txt" https://example.org'),
        ('xargs prefetch <"$(dirname "$0")/acc.txt"', ""),
        ("xargs prefetch <$here/acc.txt", ""),
    ],
)  # fmt: skip
def test_every_way_to_name_a_file_is_told_of(line: str, fix: str) -> None:
    findings = job(a_file(LIST), script=f"#!/bin/sh\n{line}\n".encode()).findings
    finding = only(tuple(one for one in findings if one.code != "folder"))
    assert (finding.code, finding.line, finding.fix) == ("file-unread", 2, fix)


@pytest.mark.parametrize(
    "line",
    [
        "# acc.txt is the list",
        "curl -O https://example.org/acc.txt",
        "rclone copy remote:acc.txt .",
        "aws s3 cp s3://bucket/acc.txt .",
        "ls /workspace/dtp-jobs/dtp-aws/x/acc.txt",
        "curl -o acc.txt https://example.org && cat acc.txt",
        "esearch -db sra >acc.txt; cat acc.txt",
    ],
)
def test_what_is_elsewhere_or_made_by_the_script_is_not_told_of(line: str) -> None:
    loose = a_file("dtp-jobs/dtp-sra-tools/acc.txt")
    found = discover(a_file(SCRIPT, f"#!/bin/sh\n{line}\n".encode()), loose)
    codes = {one.code for one in scripts.findings(found)} - {"folder"}  # another row's tool
    assert codes == {"not-a-script"}


def test_files_that_nothing_reads_are_told_of() -> None:
    wanted = job(a_file(LIST), script=b"#!/bin/sh\nprefetch SRR000001\n")
    assert told(wanted) == [("file-unread", 0, "warning")]


@pytest.mark.parametrize("name", ["list.txt", "more/acc.txt", "ac.txt"])
def test_a_file_that_is_not_there_is_told_of(name: str) -> None:
    wanted = job(a_file(LIST), script=f'#!/bin/sh\ncat "${{DTP_FILES}}/{name}"\n'.encode())
    assert told(wanted) == [("file-missing", 2, "warning")]
    assert f"`{name}` is not in `dtp-jobs/dtp-sra-tools/runs.d/`" in only(wanted.findings).message


@pytest.mark.parametrize(
    "words", ['"$DTP_FILES"/*.txt', '"$DTP_FILES/$name"', "$DTP_FILES/acc-$n.txt", '"$DTP_FILES/"']
)
def test_a_name_that_only_the_job_knows_is_not_told_of(words: str) -> None:
    assert not job(a_file(LIST), script=f"#!/bin/sh\ncat {words}\n".encode()).findings


@pytest.mark.parametrize(
    "path",
    [
        "dtp-jobs/dtp-sra-tools/acc.txt",
        "dtp-jobs/acc.txt",
        "dtp-jobs/lists/acc.txt",
        "dtp-jobs/dtp-sra-tools/runs/acc.txt",
        "dtp-jobs/dtp-sra-tools/runs.sh.d/acc.txt",
    ],
)
def test_a_list_that_stands_elsewhere_is_told_where_to_go(path: str) -> None:
    found = discover(a_file(SCRIPT, BARE), a_file(path))
    of_script, of_list = sorted(scripts.findings(found), key=lambda one: one.path != SCRIPT)
    assert (of_script.code, of_script.line, of_list.path) == ("file-elsewhere", 3, path)
    for finding in (of_script, of_list):
        assert "ove it to `dtp-jobs/dtp-sra-tools/runs.d/`" in finding.message
        assert 'read it as `"$DTP_FILES/acc.txt"`' in finding.message


def test_a_script_that_another_one_calls_is_told_of() -> None:
    helper = a_file("dtp-jobs/dtp-sra-tools/helper.sh", b"#!/bin/sh\necho\n")
    found = discover(a_file(SCRIPT, b"#!/bin/sh\n. ./helper.sh\n"), helper)
    assert told(found.wanted[b.a_ref("dtp-sra-tools/runs")]) == [("file-elsewhere", 2, "warning")]


@pytest.mark.parametrize(
    "line",
    [
        'cd "$(dirname "$0")"',
        'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)',
        "cd ${0%/*}",
        'here=$(dirname $(readlink -f "$0")); . "$here/settings"',
    ],
)
def test_a_script_that_looks_beside_itself_is_told_of(line: str) -> None:
    wanted = job(script=f"#!/bin/bash\n{line}\n".encode())
    assert told(wanted) == [("file-elsewhere", 2, "warning")]
    assert "in `$DTP_FILES`" in only(wanted.findings).message


@pytest.mark.parametrize("line", ['echo "usage: $(basename "$0")"', 'cd "$(dirname "$file")"'])
def test_a_script_that_tells_its_name_is_not(line: str) -> None:
    assert not job(script=f"#!/bin/bash\n{line}\n".encode()).findings


def test_a_file_that_nobody_reads_is_told_where_files_go() -> None:
    message = only(scripts.findings(discover(a_file("dtp-jobs/dtp-aws/notes.txt")))).message
    assert "`dtp-jobs/dtp-aws/<job>.d/`" in message


def test_a_folder_without_its_script_is_told_of() -> None:
    finding = only(scripts.findings(discover(a_file(LIST), a_file(LIST + ".2"))))
    assert (finding.path, finding.code) == ("dtp-jobs/dtp-sra-tools/runs.d", "file-orphan")
    assert "there is no `dtp-jobs/dtp-sra-tools/runs.sh`" in finding.message


@given(st.text(alphabet="ab./$@:'\"() <>\n#", max_size=60))
def test_no_script_is_too_odd_to_be_read(text: str) -> None:
    loose = [a_file("dtp-jobs/dtp-sra-tools/a.b"), a_file("dtp-jobs/dtp-sra-tools/runs.d/b.a")]
    for finding in job(*loose, script=f"#!/bin/sh\n{text}".encode()).findings:
        assert finding.message == secrets.redact(finding.message)


# --- before the merge ----------------------------------------------------------------------------


def foresee(before: Branch, after: Branch) -> preview.Preview:
    merge = Merge(commit=b.COMMIT, before=tuple(of(before)), after=tuple(of(after)))
    return preview.foresee(merge, discover(*merge.after), catalog=ROWS)


def test_a_changed_list_is_a_change_of_its_job_and_the_row_says_which() -> None:
    before = {SCRIPT: LOOP, LIST: RUNS}
    (row,) = foresee(before, before | {LIST: b"SRR000009\n"}).rows
    assert (str(row.ref), row.change, row.will) == (
        "dtp-sra-tools/runs",
        Change.CHANGED,
        Will.DEPENDS,
    )
    assert row.files == (LIST,)
    assert "`dtp-sra-tools/runs.d/acc.txt`" in row.why


def test_a_list_that_is_taken_away_is_a_change_of_its_job() -> None:
    (row,) = foresee({SCRIPT: LOOP, LIST: RUNS}, {SCRIPT: LOOP}).rows
    assert (row.change, row.files) == (Change.CHANGED, (LIST,))
    assert only(row.findings).code == "file-missing"


def test_a_script_that_goes_without_its_files_leaves_a_remark() -> None:
    told = foresee({SCRIPT: LOOP, LIST: RUNS}, {LIST: RUNS})
    assert [row.change for row in told.rows] == [Change.REMOVED]
    assert only(told.findings).code == "file-orphan"


def test_the_x_bit_of_a_file_changes_nothing() -> None:
    files = [a_file(SCRIPT, LOOP), a_file(LIST)]
    after = (files[0], a_file(LIST, mode=0o100755))
    merge = Merge(commit=b.COMMIT, before=tuple(files), after=after)
    assert not preview.foresee(merge, discover(*after), catalog=ROWS).rows


# --- from git and the working tree ---------------------------------------------------------------


def test_files_are_read_from_a_commit_as_from_the_working_tree(repository: Path) -> None:
    put(repository, SCRIPT, LOOP)
    put(repository, LIST, b"SRR1\r\n\0\xff")
    put(repository, f"{LIST}.large", b"x" * 600 * 1024)
    commit(repository)
    by_commit = discover(*checkout.committed(repository, "HEAD")[1])
    by_hand = discover(*checkout.working_tree(repository))
    assert by_commit.wanted == by_hand.wanted
    (wanted,) = by_commit.wanted.values()
    assert wanted.script
    assert [len(file.content) for file in wanted.script.files] == [8, 600 * 1024]


@pytest.mark.parametrize("path", [SCRIPT, LIST, beside.folder(SCRIPT)])
def test_script_and_files_are_checked_together_whichever_is_named(
    repository: Path, path: str
) -> None:
    put(repository, SCRIPT, LOOP)
    put(repository, LIST)
    put(repository, "dtp-jobs/dtp-sra-tools/other.sh", LOOP)
    found = checkout.working_tree(repository, (path,))
    assert [file.path for file in found] == [LIST, SCRIPT]


def test_files_beyond_the_bounds_are_not_read(repository: Path) -> None:
    put(repository, SCRIPT, LOOP)
    put(repository, LIST, b"x" * (beside.MOST_BYTES + 1))
    commit(repository)
    for files in (checkout.committed(repository, "HEAD")[1], checkout.working_tree(repository)):
        large = next(file for file in files if file.path == LIST)
        assert (large.content, large.size) == (b"", beside.MOST_BYTES + 1)
        assert (
            "with its files"
            in only(discover(*files).wanted[b.a_ref("dtp-sra-tools/runs")].findings).message
        )


@pytest.mark.parametrize("then", [b"SRR000009\n", None])
def test_who_changed_the_list_brought_the_job(repository: Path, then: bytes | None) -> None:
    put(repository, SCRIPT, LOOP)
    put(repository, LIST)
    put(repository, f"{LIST}.more")
    first = commit(repository)
    assert checkout.brought_by(repository, "HEAD", [SCRIPT]).commits == {SCRIPT: first}
    if then is None:
        (repository / LIST).unlink()
    else:
        put(repository, LIST, then)
    second = commit(repository)
    put(repository, "dtp-jobs/dtp-sra-tools/other.d/acc.txt")
    commit(repository)
    assert checkout.brought_by(repository, "HEAD", [SCRIPT]).commits == {SCRIPT: second}
