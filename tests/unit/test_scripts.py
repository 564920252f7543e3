from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import catalog, cluster_settings, naming, scripts
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Desired, Directives, Finding, Ref, Severity, Wanted
from dtp_action.core.scripts import File
from tests.growth import assert_linear, filled

ROWS = catalog.builtin()
GOOD = b"#!/bin/bash\naws s3 cp --no-sign-request s3://1000genomes/sequence.index .\n"
SYMLINK, SUBMODULE = 0o120000, 0o160000


def a_file(path: str, content: bytes = GOOD, mode: int = 0o100644, **more: int) -> File:
    return File(path=path, mode=mode, blob="b10b", content=content, **more)


def discover(*files: File, settings: ClusterSettings | None = None) -> Desired:
    return scripts.discover(files, commit="c0ffee", catalog=ROWS, settings=settings)


def judge(content: bytes, path: str = "dtp-jobs/dtp-aws/a.sh", mode: int = 0o100644) -> Wanted:
    (wanted,) = discover(a_file(path, content, mode)).wanted.values()
    return wanted


def codes(content: bytes) -> list[tuple[int, str]]:
    return [(finding.line, finding.code) for finding in judge(content).findings]


def loose(path: str, mode: int = 0o100644) -> list[tuple[str, Severity]]:
    """Return what is said of a path that names no job."""
    found = discover(a_file(path, mode=mode))
    assert not found.wanted
    return [(finding.code, finding.severity) for finding in found.findings]


# --- what is found -------------------------------------------------------------------------------


def test_each_script_in_a_protocols_folder_is_a_job() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/genome.sh"), a_file("dtp-jobs/dtp-gcp/genome.sh"))
    assert found.commit == "c0ffee"
    assert [str(ref) for ref in found.wanted] == ["dtp-aws/genome", "dtp-gcp/genome"]
    assert {one.code for one in scripts.findings(found)} == {"folder"}  # aws in dtp-gcp
    one = found.wanted[Ref("aws", "genome")]
    assert one.script is not None
    assert (one.path, one.blob) == ("dtp-jobs/dtp-aws/genome.sh", "b10b")
    assert (one.script.content, one.script.directives) == (GOOD, Directives())


def test_the_same_bytes_under_seven_protocols_are_seven_jobs() -> None:
    seven = ("aws", "gcp", "sra-tools", "minio", "aspera", "rclone", "local")
    found = discover(*(a_file(f"dtp-jobs/dtp-{protocol}/test.sh") for protocol in seven))
    assert all(one.script for one in found.wanted.values())
    assert len({naming.attempt_name(ref, 1) for ref in found.wanted}) == 7


def test_a_copy_made_to_run_a_job_again_is_told_of_retry() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/kidney.sh"), a_file("dtp-jobs/dtp-aws/kidney2.sh"))
    assert all(one.script for one in found.wanted.values())
    assert scripts.findings(found) == (
        Finding(
            path="dtp-jobs/dtp-aws/kidney2.sh",
            code="copy",
            severity=Severity.WARNING,
            message="holds the same as dtp-aws/kidney; "
            "to run that job again: dtp retry dtp-aws/kidney",
        ),
    )


@pytest.mark.parametrize(
    "name",
    [
        "endpoint_setup_reed",
        "Kidney",
        "UPPER_lower-1.2",
        "1",
        "a" * 100,
        "a..b",
        "aspera-job-1",
        "end-",
    ],
)
def test_awkward_but_harmless_names_are_jobs(name: str) -> None:
    found = discover(a_file(f"dtp-jobs/dtp-aws/{name}.sh"))
    assert list(found.wanted) == [Ref("aws", name)]
    assert Ref.parse(str(Ref("aws", name))) == Ref("aws", name)


def test_names_that_look_alike_as_slugs_are_two_jobs() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/a_b.sh"), a_file("dtp-jobs/dtp-aws/A-b.sh"))
    assert len(found.wanted) == 2
    assert len({naming.attempt_name(ref, 1) for ref in found.wanted}) == 2


@pytest.mark.parametrize(
    "name",
    ["my job", "génome", "a\nb", "$(reboot)", "a;b", "-rf", "_a", "a" * 200, "a.sh"],
)
def test_a_dangerous_name_is_rejected_with_what_names_are(name: str) -> None:
    found = discover(a_file(f"dtp-jobs/dtp-aws/{name}.sh"))
    assert not found.wanted
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("name", Severity.ERROR)
    assert finding.message == (
        "the job's name cannot be used: it begins with a letter or digit, has at most "
        "100 letters A-Z a-z, digits, `.`, `_`, `-`, and does not end in .sh twice"
    )


def test_a_path_is_told_in_characters_that_print() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/a\n\x1b[31m\udcff\u202e.sh"))
    assert found.findings[0].path == "dtp-jobs/dtp-aws/a\\n\\x1b[31m\\udcff\\u202e.sh"


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "catalog.yaml",
        ".gitkeep",
        "dtp-aws/README",
        "dtp-aws/README.md",
        "dtp-aws/.gitkeep",
        "dtp-aws/.hidden.sh",
        "dtp-aws/..sh",
        "dtp-aws/...sh",
        "dtp-aws/genome.sh.example",
        "dtp-aws/.old/genome.sh",
    ],
)
def test_readme_dotfiles_examples_and_the_catalog_are_passed_over(path: str) -> None:
    assert loose(f"dtp-jobs/{path}") == []


@pytest.mark.parametrize(
    "path",
    [
        *("notes.txt", "dtp-aws/genome.txt", "dtp-aws/a.SH"),
        *("dtp-aws/a.bash", "dtp-aws/x/y.py", "dtp-aws/genome.sh/part"),
    ],
)
def test_another_file_is_a_warning(path: str) -> None:
    assert loose(f"dtp-jobs/{path}") == [("not-a-script", Severity.WARNING)]


@pytest.mark.parametrize(
    ("path", "mode", "code"),
    [
        ("dtp-jobs/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp-aws/more/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp-aws/genome.sh/part.sh", 0o100644, "place"),
        ("dtp-jobs/aws/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp-AWS/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp-/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp--/genome.sh", 0o100644, "place"),
        ("dtp-jobs/dtp-aws", SYMLINK, "link"),
        ("dtp-jobs/dtp-aws", SUBMODULE, "link"),
        ("dtp-jobs/dtp-aws/part", SYMLINK, "link"),
        ("dtp-jobs", SYMLINK, "link"),
    ],
)
def test_a_script_in_no_protocols_folder_is_an_error(path: str, mode: int, code: str) -> None:
    assert loose(path, mode) == [(code, Severity.ERROR)]


# --- rejected, but still something on the branch -------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (SYMLINK, "is a symbolic link; scripts are plain files"),
        (SUBMODULE, "is a submodule; scripts are plain files"),
    ],
)
def test_a_link_is_rejected_and_yet_a_job_of_the_branch(mode: int, told: str) -> None:
    wanted = judge(b"", mode=mode)
    assert wanted.script is None
    assert [(one.code, one.message) for one in wanted.findings] == [("link", told)]


def test_an_unknown_protocol_is_rejected_and_yet_a_job_of_the_branch() -> None:
    wanted = judge(GOOD, "dtp-jobs/dtp-asw/a.sh")
    assert (wanted.ref, wanted.script) == (Ref("asw", "a"), None)
    assert [one.message for one in wanted.findings] == [
        "dtp-asw is no protocol; did you mean `aws`?"
    ]


def test_a_protocol_without_an_image_rejects_its_scripts_without_a_cluster_too() -> None:
    wanted = judge(b"#!/bin/sh\ngocmd ls\n", "dtp-jobs/dtp-irods/a.sh")
    assert [(one.line, one.code) for one in wanted.findings] == [(0, "protocol")]
    assert wanted.script is None


def test_a_folder_named_by_an_alias_keeps_its_own_name() -> None:
    wanted = judge(GOOD, "dtp-jobs/dtp-google/a.sh")
    assert wanted.ref == Ref("google", "a")
    assert wanted.script is not None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", (0, "empty", "is empty")),
        (b"\n \n", (0, "empty", "is empty")),
        (b"#!/bin/sh\n" + b"#" * 256 * 1024, (0, "too-large", "is larger than 256 KiB")),
        (
            b"#!/bin/sh\necho \0\n",
            (2, "nul", "holds a NUL byte: this is no text"),
        ),
        (
            b"#!/bin/sh\n\necho g\xe9nome\n",
            (3, "encoding", "is not UTF-8 text: save the file as UTF-8"),
        ),
        (
            b"\xef\xbb\xbf#!/bin/sh\necho\n",
            (1, "bom", "begins with a byte order mark: save the file without one"),
        ),
        (
            b"#!/bin/sh\necho\r\necho\r\n",
            (2, "cr", "has Windows line ends (CR): save the file with LF line ends"),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_bytes_that_are_no_plain_text_are_rejected(
    content: bytes, told: tuple[int, str, str]
) -> None:
    wanted = judge(content)
    assert wanted.script is None
    assert [(one.line, one.code, one.message) for one in wanted.findings] == [told]


def test_the_first_line_is_offered_without_its_byte_order_mark() -> None:
    (finding,) = judge(b"\xef\xbb\xbf#!/bin/bash -eu\necho\n").findings
    assert (finding.code, finding.fix) == ("bom", "#!/bin/bash -eu")


def test_a_script_of_the_largest_size_is_accepted() -> None:
    assert judge(b"#!/bin/sh\n" + b"#" * (256 * 1024 - 10)).script is not None


def test_a_script_too_large_to_be_loaded_is_rejected_by_its_size() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/a.sh", b"", size=300 * 1024))
    assert [one.code for one in found.wanted[Ref("aws", "a")].findings] == ["too-large"]


def test_utf_16_is_told_as_no_utf_8() -> None:
    assert {code for _, code in codes("#!/bin/sh\necho é\n".encode("utf-16"))} >= {"encoding"}


def test_windows_line_ends_do_not_hide_what_else_is_wrong() -> None:
    assert codes(b"#!/bin/bash\r\n#dtp cpu=2\r\n") == [(1, "cr"), (2, "directive-mark")]


@pytest.mark.parametrize("mode", [0o100644, 0o100755])
def test_the_x_bit_never_matters(mode: int) -> None:
    assert judge(GOOD, mode=mode).script is not None


# --- what a reviewer does not see ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("char", "name", "octal"),
    [
        ("\x1b", "U+001B ESCAPE", r"\033"),
        ("\x7f", "U+007F DELETE", r"\177"),
        ("\x01", "U+0001 control character", r"\001"),
        ("\x9b", "U+009B CONTROL SEQUENCE INTRODUCER", r"\302\233"),
        ("\u00ad", "U+00AD SOFT HYPHEN", r"\302\255"),
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE", r"\342\200\256"),
        ("\u2069", "U+2069 POP DIRECTIONAL ISOLATE", r"\342\201\251"),
        ("\u061c", "U+061C ARABIC LETTER MARK", r"\330\234"),
        ("\u200b", "U+200B ZERO WIDTH SPACE", r"\342\200\213"),
        ("\u200d", "U+200D ZERO WIDTH JOINER", r"\342\200\215"),
        ("\u2028", "U+2028 LINE SEPARATOR", r"\342\200\250"),
        ("\u2060", "U+2060 WORD JOINER", r"\342\201\240"),
        ("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE", r"\357\273\277"),
        ("\ufe0f", "U+FE0F VARIATION SELECTOR-16", r"\357\270\217"),
        ("\u3164", "U+3164 HANGUL FILLER", r"\343\205\244"),
        ("\u2800", "U+2800 BRAILLE PATTERN BLANK", r"\342\240\200"),
        ("\ue000", "U+E000 private use character", r"\356\200\200"),
        ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A", r"\363\240\201\201"),
        ("\U000e0101", "U+E0101 VARIATION SELECTOR-18", r"\363\240\204\201"),
    ],
    ids=lambda value: value.split()[0] if value.startswith("U+") else "",
)
def test_what_a_reviewer_does_not_see_is_rejected_with_its_place_and_name(
    char: str, name: str, octal: str
) -> None:
    wanted = judge(f"#!/bin/sh\n# né\necho {char}x\n".encode())
    assert wanted.script is None
    ((line, column, code, message),) = (
        (one.line, one.column, one.code, one.message) for one in wanted.findings
    )
    assert (line, column, code) == (3, 6, "unseen")
    assert message == (
        f"holds {name}, which a reviewer does not see: remove it, or, where the script has to"
        f" print it, write `printf '{octal}'`"
    )


@pytest.mark.parametrize(
    "text",
    [
        "# réplique des données, naïve Σ Ж ش",
        "# deja\u0300 vu, 数据传输, データ\u3000転送, 데이터, हिन्दी",
        "echo 'Téléchargement\u00a0: fini – “ok” … × µ'",
        "echo ✔️ ❤️ 1️⃣ 🎉 👍🏽 👩‍💻 🏳️‍🌈 👨‍👩‍👧",
        "\techo done",
    ],
)
def test_ordinary_text_and_emoji_pass(text: str) -> None:
    wanted = judge(f"#!/bin/bash\n{text}\n".encode())
    assert wanted.findings == ()
    assert wanted.script is not None


@pytest.mark.parametrize(
    "text", ["rm a\ufe0f", "rm a\u200db", "#🏴\U000e0067", "#a\u200d🎉", "#🎉\u200d"]
)
def test_what_belongs_into_emoji_passes_nowhere_else(text: str) -> None:
    assert [code for _, code in codes(f"#!/bin/sh\n{text}\n".encode())] == ["unseen"]


def test_no_more_than_twenty_of_them_are_told() -> None:
    assert len(codes(b"#!/bin/sh\n" + b"echo \x1b[31m\n" * 1000)) == 20


@given(st.text(st.characters(codec="utf-8")))
def test_what_passes_holds_nothing_that_does_not_print_but_in_an_emoji(text: str) -> None:
    content = f"#!/bin/sh\n: '{text}'\n"
    if judge(content.encode()).script is not None:
        left = {unicodedata.category(char) for char in set(content) - set("\t\n\u200d")}
        assert not left & {"Cc", "Cf", "Co", "Zl", "Zp"}


@given(
    st.text(
        st.characters(categories=["Cc", "Cf", "Co", "Zl", "Zp"], exclude_characters="\t\n"),
        min_size=1,
    )
)
def test_nothing_but_what_does_not_print_never_passes(text: str) -> None:
    wanted = judge(f"#!/bin/sh\n# {text}\n".encode())
    assert wanted.script is None
    assert all(one.line and one.message.isprintable() for one in wanted.findings)


# --- the shebang ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shebang", "shell"),
    [
        ("#!/bin/sh", "sh"),
        ("#!/bin/bash", "bash"),
        ("#! /bin/bash", "bash"),
        ("#!/usr/bin/bash", "bash"),
        ("#!/usr/local/bin/bash", "bash"),
        ("#!/usr/bin/env bash", "bash"),
        ("#!/usr/bin/env sh", "sh"),
        ("#!/bin/bash -eu", "bash"),
        ("#!/bin/bash -e -u", "bash"),
        ("#!/usr/bin/env -S bash -eu", "bash"),
        ("#!/bin/bash ", "bash"),
        ("#!/bin/bash -euo pipefail", "bash"),
        ("#!/bin/bash --login", "bash"),
        ("#!/usr/bin/env bash -e", "bash"),
        ("#!bash", "bash"),
        ("#!/bin/env", "sh"),
        ("#!", "sh"),
    ],
)
def test_sh_and_bash_are_accepted_in_every_image(shebang: str, shell: str) -> None:
    wanted = judge(f"{shebang}\necho\n".encode(), "dtp-jobs/dtp-rclone/a.sh")
    assert wanted.findings == ()
    assert wanted.script is not None
    assert scripts.shell(wanted.content) == shell


@pytest.mark.parametrize(
    ("shebang", "fix"),
    [
        ("#!/usr/bin/perl", ""),
        ("#!/usr/bin/env python3", ""),
        ("#!/usr/bin/env Rscript", ""),
        ("#!/bin/", ""),
        ("#!/bin/zsh", ""),
        ("#!/bin/bashful", ""),
        ("#!/bin/dash -e", "#!/bin/sh -e"),
        ("#!/usr/bin/env -i bash", ""),
        ("#!/bin/bash -c reboot", ""),
    ],
)
def test_another_shebang_is_an_error_and_no_correction_changes_the_meaning(
    shebang: str, fix: str
) -> None:
    (finding,) = judge(f"{shebang}\necho\n".encode()).findings
    assert (finding.line, finding.code, finding.fix) == (1, "shebang", fix)
    assert finding.message.startswith(f"`{shebang}` cannot be used: ")
    assert finding.severity is Severity.ERROR


def test_a_row_allows_another_interpreter() -> None:
    rows = catalog.parse("version: 1\nprotocols: {aws: {interpreters: [python3]}}", "x", base=ROWS)
    file = a_file("dtp-jobs/dtp-aws/a.sh", b"#!/usr/bin/env python3\nprint()\n")
    (wanted,) = scripts.discover([file], commit="", catalog=rows, settings=None).wanted.values()
    assert wanted.script is not None
    assert scripts.shell(wanted.content) is None


def test_no_shebang_is_a_warning_and_sh_runs_it() -> None:
    wanted = judge(b"echo\n")
    assert wanted.script is not None
    assert scripts.shell(wanted.content) == "sh"
    assert wanted.findings == (
        Finding(
            path="dtp-jobs/dtp-aws/a.sh",
            line=1,
            column=1,
            code="no-shebang",
            severity=Severity.WARNING,
            message="there is no shebang, so sh runs the script: begin it with one",
            fix="#!/bin/sh",
        ),
    )


# --- what the text says --------------------------------------------------------------------------


def test_a_wrong_directive_rejects_the_script() -> None:
    wanted = judge(b"#!/bin/sh\n#DTP memory=8GB\necho\n")
    assert wanted.script is None
    assert [(one.line, one.code, one.fix) for one in wanted.findings] == [
        (2, "directive-value", "#DTP memory=8G")
    ]


def test_the_originals_globus_script_is_rejected_with_what_to_do_and_its_key_not_echoed() -> None:
    key = "-".join("1a2b3"[i] * n for i, n in enumerate((8, 4, 4, 4, 12)))
    wanted = judge(f'#!/bin/bash\nGLOBUS_KEY="{key}"\n'.encode(), "dtp-jobs/dtp-globus/endpoint.sh")
    assert wanted.script is None
    (finding,) = (one for one in wanted.findings if one.line == 2)
    assert finding.code == "secret-globus-setup-key"
    assert finding.message == (
        "looks like a Globus setup key: delete its collection at Globus, and give the key of a new "
        "one to the cluster's admin, for a Secret dtp-globus-NAME, as GLOBUS_SETUP_KEY; the script "
        "of an endpoint has `#DTP kind=service secret=NAME` and calls dtp-globus-endpoint"
    )
    assert key not in str(wanted)


def test_a_folder_named_by_an_alias_is_told_the_secret_of_its_row() -> None:
    wanted = judge(b"#!/bin/sh\nX_PASSWORD=" + b"l0velace\n", "dtp-jobs/dtp-google/a.sh")
    assert wanted.findings[0].message.endswith("for the Secret dtp-gcp")


def test_what_several_rules_find_is_told_once() -> None:
    wanted = judge(b"#!/bin/sh\nAWS_SECRET_ACCESS_KEY=" + b"aB3dE5gH7j" * 4 + b"\n")
    assert [one.code for one in wanted.findings] == ["secret-aws-secret-key"]


def test_a_secret_is_not_echoed_by_any_finding_about_its_line() -> None:
    token = "ghp_" + "aB3dE5gH7jK9" * 3
    text = f"#!/usr/bin/{token}\n#DTP secret={token}, token={token}\ncat /root/{token}\n"
    wanted = judge(text.encode())
    assert {"shebang", "directive-unknown"} <= {one.code for one in wanted.findings}
    assert token not in str(wanted)
    wanted = judge(f"#!/bin/sh\ncat /root/{token}\ncp a ~/{token}\n".encode())
    assert {"path", "lost"} <= {one.code for one in wanted.findings}
    assert token not in str(wanted)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("cd /root", "/root"),
        ("aws s3 cp s3://a/b /root/data/x", "/root/data/x"),
        ('cp x "/workspace/other/x"', "/workspace/other/x"),
        ("OUT=/scratch/ada", "/scratch/ada"),
        ("tool --out=/mnt/x >/data/log", "/mnt/x"),
        ("cat </home/ada/x", "/home/ada/x"),
    ],
)
def test_an_absolute_path_outside_the_jobs_directory_is_a_warning(line: str, path: str) -> None:
    wanted = judge(f"#!/bin/sh\n{line}\n".encode())
    assert wanted.script is not None
    first = wanted.findings[0]
    assert (first.line, first.code, first.severity) == (2, "path", Severity.WARNING)
    assert first.message.startswith(f"`{path}` ")


def test_a_path_that_stands_twice_is_told_once() -> None:
    wanted = judge(b"#!/bin/sh\nmkdir -p /mnt/x && cp y /mnt/x\nls /mnt/x\n")
    (finding,) = wanted.findings
    assert finding.line == 2
    assert finding.message.endswith("(also line 3)")


@pytest.mark.parametrize(
    "line",
    [
        "tar xf /tmp/y 2>/dev/null",
        "/usr/bin/env aws",
        "cat /etc/passwd",
        "aws s3 cp s3://a/root/x .",
        "rclone copy remote:/data/x .",
        "gocmd get /tempZone/home/ada/x .",
        "cd /workspace/dtp-jobs/dtp-aws/a/part",
        "cd /home/dtp/x",
        "rclone copy /workspace/dtp-jobs/dtp-aws/other lab:x",
        'cp "$BASE"/data/x .',
        "cp ${BASE}/root/x .",
        "# once under /root",
        "curl https://example.org/root/x",
    ],
)
def test_other_paths_are_left_alone(line: str) -> None:
    assert {code for _, code in codes(f"#!/bin/sh\n{line}\n".encode())} <= {"folder"}


# --- with a cluster ------------------------------------------------------------------------------

LEAST = "version: 1\nclaim: data\nrunnerImage: registry.example.org/dtp/runner:1\n"


def test_caps_hold_where_the_cluster_is_known_and_are_unchecked_elsewhere() -> None:
    file = a_file("dtp-jobs/dtp-aws/a.sh", b"#!/bin/sh\n#DTP cpu=4\necho\n")
    settings = cluster_settings.parse(LEAST + "caps: {cpu: 2}\n", "x")
    assert discover(file).wanted[Ref("aws", "a")].script is not None
    wanted = discover(file, settings=settings).wanted[Ref("aws", "a")]
    assert wanted.script is None
    assert [one.message for one in wanted.findings] == ["`cpu=4` is over this cluster's cap of 2"]


def test_a_cap_is_told_with_its_line_whatever_else_is_wrong_with_the_bytes() -> None:
    file = a_file("dtp-jobs/dtp-aws/a.sh", b"\xef\xbb\xbf#DTP cpu=99\r\n# g\xe9nome\r\n")
    settings = cluster_settings.parse(LEAST, "x")
    wanted = discover(file, settings=settings).wanted[Ref("aws", "a")]
    (finding,) = (one for one in wanted.findings if one.code == "cap")
    assert (finding.line, finding.fix) == (1, "#DTP cpu=8")


def test_whom_a_secret_is_granted_to_is_not_asked_before_the_author_is_known() -> None:
    file = a_file("dtp-jobs/dtp-aws/a.sh", b"#!/bin/sh\n#DTP secret=lab-key\necho\n")
    settings = cluster_settings.parse(LEAST + "grants: {lab-key: [ada]}\n", "x")
    assert discover(file, settings=settings).wanted[Ref("aws", "a")].script is not None


# --- findings from elsewhere ---------------------------------------------------------------------


def test_a_finding_from_elsewhere_rejects_its_script_and_no_other() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/a.sh"), a_file("dtp-jobs/dtp-aws/b.sh", GOOD + b"#"))
    wrong = Finding(path="dtp-jobs/dtp-aws/a.sh", line=3, code="syntax", message="no")
    note = Finding(path="dtp-jobs", code="x", severity=Severity.WARNING, message="note")
    after = scripts.reject(found, [wrong, note])
    assert after.wanted[Ref("aws", "a")].script is None
    assert after.wanted[Ref("aws", "b")].script is not None
    assert scripts.findings(after) == (note, wrong)


def test_a_warning_from_elsewhere_rejects_nothing() -> None:
    found = discover(a_file("dtp-jobs/dtp-aws/a.sh"))
    warning = Finding(
        path="dtp-jobs/dtp-aws/a.sh", code="syntax", severity=Severity.WARNING, message="hm"
    )
    after = scripts.reject(found, [warning])
    assert after.wanted[Ref("aws", "a")].script is not None
    assert scripts.findings(after) == (warning,)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        ("#!/", "a/"),
        ("#dtp a", " "),
        ("#DTP ", "x "),
        ("#DTP ", "cpu="),
        ("", "#dtp x=1 y=2\n"),
        ("", "cat /root/a /root/b\n"),
        ("", "/root"),
        ("", "cp a $HOME/a; "),
        ("", "A=/data/x; cp $A b\n"),
        ("", "echo $1 `a` | read\n"),
        ("", "#SBATCH --time=1:00:00\n"),
        ("", "$("),
        ("", "curl a | tar x &\n"),
        ("", "cd ~\n"),
        ("(", "cd ~\n"),
        ("", "(cd ~; ls)\n"),
        ("", "x=("),
        ("", "X_TOKEN=l0velace\n"),
        ("", " "),
        ("", "#"),
    ],
)
@pytest.mark.parametrize("shebang", ["", "#!/bin/sh\n"])
def test_the_worst_script_is_judged_in_proportion_to_its_length(
    shebang: str, head: str, piece: str
) -> None:
    assert_linear(lambda size: judge(f"{shebang}{head}{filled(piece, size)}".encode()))


# --- whatever comes ------------------------------------------------------------------------------

NAMES = st.text(alphabet=st.one_of(st.sampled_from("a.-_/ \n$sh"), st.characters()), max_size=20)


@given(
    st.lists(
        st.builds(
            File,
            path=st.one_of(
                NAMES.map("dtp-jobs/dtp-aws/{}.sh".format),
                NAMES.map("dtp-jobs/{}".format),
                NAMES,
            ),
            mode=st.sampled_from([0o100644, 0o100755, SYMLINK, SUBMODULE]),
            blob=st.just("b"),
            content=st.one_of(
                st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace"))
            ),
        ),
        max_size=4,
    )
)
def test_whatever_the_branch_holds_is_judged_and_never_an_error_of_ours(files: list[File]) -> None:
    found = discover(*files)
    for one in found.wanted.values():
        errors = [finding for finding in one.findings if finding.severity is Severity.ERROR]
        assert (one.script is None) is bool(errors)
        assert naming.attempt_name(one.ref, 1)
    for finding in scripts.findings(found):
        assert finding.path.isprintable()
        assert finding.message.isprintable()
