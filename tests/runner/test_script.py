"""How the script is run: interpreter, environment, secrets, stdin, exit codes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from dtp_action.core import remarks
from tests.runner.conftest import PATH, Attempt, program


def tools(attempt: Attempt) -> Path:
    """Return tools as prep makes them, at the path the runner is told."""
    folder = attempt.root / "tools" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(program("bash"), folder / "bash")
    for name in ("busybox", "sh", "setsid", "tee", "mkfifo", "cat", "date", "tr", "cut", "sed"):
        (folder / name).symlink_to(program("busybox"))
    for name in ("mkdir", "rm", "mv", "ln", "sleep", "head"):
        (folder / name).symlink_to(program("busybox"))
    return folder.parent


# --- interpreter ---


@pytest.mark.parametrize(
    ("shebang", "expected"),
    [
        ("#!/bin/sh", ""),
        ("#!/bin/bash", "bash"),
        ("#! /bin/bash", "bash"),
        ("#!/usr/bin/env bash", "bash"),
        ("#!/usr/bin/env -S bash -e", "bash e"),
        ("#!/bin/bash -e", "bash e"),
        ("#!/opt/nowhere/bash -eu", "bash eu"),
        ("echo no shebang", ""),
        ("#!", ""),
    ],
)
def test_shebang_chooses_the_interpreter(attempt: Attempt, shebang: str, expected: str) -> None:
    report = """
        case $- in *e*u*) flags=eu ;; *e*) flags=e ;; *) flags= ;; esac
        printf 'is=%s\\n' "${BASH_VERSION:+bash}${flags:+ $flags}"
    """
    ended = attempt.script(f"{shebang}\n{report}").run()
    assert ended.code == 0
    assert ended.lines[-1] == f"is={expected}"


@pytest.mark.parametrize(
    "shebang",
    [
        *("#!/bin/bash -euo pipefail", "#!/bin/bash --login", "#!/usr/bin/env bash -e", "#!bash"),
        *(
            "#!/bin/env",
            "#!/usr/bin/env -S bash -eu",
            "#!/bin/bash -e -o pipefail +x",
            "#!/bin/sh -eu",
        ),
        *("#!/bin/bash -O extglob", "#!/bin/bash -", "#!\t/bin/bash\t-e", "#!/bin/bash --posix -x"),
        *("#!/bin/bash -c true", "#!/bin/bash -s", "#!/bin/bash -n", "#!/bin/bash -o pipefial"),
        *("#!/usr/bin/env -i bash", "#!/bin/bash --rcfile", "#!/bin/", "#!/usr/bin/env A=1 bash"),
        *("#!/bin/bash -z", "#!/bin/bash x", "#!/bin/bash -D", "#!/bin/bash -e --posix"),
    ],
)
def test_what_the_check_allows_is_what_runs(attempt: Attempt, shebang: str) -> None:
    ended = attempt.script(f"{shebang}\necho it runs\n").run()
    allowed = remarks.interpreter(shebang)
    assert (b"\nit runs\n" in ended.stdout) is (
        allowed is not None and allowed[0] in remarks.SHELLS
    )


def test_an_image_without_shells_gets_the_runners_own(attempt: Attempt) -> None:
    home = tools(attempt)
    attempt.script("#!/opt/none/bash\necho $BASH; command -v sh")
    ended = attempt.run(PATH=f"{attempt.root}/empty", DTP_TOOLS=str(home))
    assert ended.lines == [f"{home}/bin/bash", f"{home}/bin/sh"]


def test_the_tools_come_last_in_the_scripts_path(attempt: Attempt) -> None:
    home = tools(attempt)
    ended = attempt.script("#!/bin/sh\necho $PATH").run(DTP_TOOLS=str(home))
    assert ended.lines == [f"{PATH}:{home}/bin"]


def test_an_interpreter_of_the_image_is_used(attempt: Attempt) -> None:
    ended = attempt.script("#!/usr/bin/env python3\nimport sys\nprint(sys.version_info[0])").run()
    assert (ended.code, ended.lines) == (0, ["3"])


@pytest.mark.parametrize("shebang", ["#!/usr/bin/env ruby9", "#!/usr/bin/perl9 -w"])
def test_an_interpreter_the_image_lacks_is_193_and_leaves_no_start(
    attempt: Attempt, shebang: str
) -> None:
    ended = attempt.script(f"{shebang}\n").run()
    assert ended.code == 193
    assert (
        "the image has no " + shebang.split(maxsplit=1)[0][2:].replace("/usr/bin/env", "ruby9")
        in (ended.termination["error"])
    )
    assert not attempt.starts.exists()


def test_the_scripts_words_are_never_run_by_the_runner(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh $(touch\tpwned) `touch pwned` *\n")
    attempt.run(DTP_COMMIT="$(touch pwned)", DTP_NAME="`touch pwned`")
    assert not (attempt.directory / "pwned").exists()


# --- what it finds ---


def test_stdin_is_closed(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nread -r word; echo $?").run()
    assert ended.lines == ["1"]


def test_the_script_sees_its_own_variables_and_none_of_the_runners(attempt: Attempt) -> None:
    attempt.script("#!/usr/bin/env python3\nimport os\nfor k in sorted(os.environ): print(k)")
    ended = attempt.run(AWS_REGION="eu", dtp="1", log="2", code="3")
    shells_own = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    # fmt: off
    assert set(ended.lines) - shells_own == {
        "AWS_REGION", "dtp", "log", "code", "PATH", "HOME", "TMPDIR", "DTP_REF", "DTP_NAME",
        "DTP_ATTEMPT", "DTP_DIRECTORY", "DTP_START", "DTP_SECRETS",
        "DTP_KIND", "DTP_PROGRESS_FILE", "DTP_FILES",
    }
    # fmt: on


def test_the_scripts_environment_keeps_its_values(attempt: Attempt) -> None:
    ended = attempt.script('#!/bin/sh\nprintf %s "$odd"').run(odd="a  b'\"$(x)\n* é")
    assert ended.printed.decode() == "a  b'\"$(x)\n* é"


def test_only_the_three_usual_files_are_open(attempt: Attempt) -> None:
    ended = attempt.script("#!/usr/bin/env python3\nimport os\nprint(os.listdir('/dev/fd'))").run()
    assert {"0", "1", "2"} <= set(eval(ended.lines[0])) <= {"0", "1", "2", "3"}


def test_it_starts_in_its_directory_with_home_and_scratch(attempt: Attempt) -> None:
    ended = attempt.script('#!/bin/sh\npwd; touch "$HOME/a" "$TMPDIR/b" && echo ok').run()
    assert ended.lines == [str(attempt.directory), "ok"]


def test_files_beside_it_are_found_behind_the_links_of_a_volume(attempt: Attempt) -> None:
    """The kubelet makes `files` a link to where a version of them is."""
    version = attempt.root / "entry" / "..2026"
    (version / "files").mkdir(parents=True)
    (version / "files" / "acc.txt").write_text("SRR1\n")
    (attempt.root / "entry" / "files").symlink_to("..2026/files")
    attempt.script('#!/bin/sh\nfind "$DTP_FILES" -type f -exec cat {} +')
    assert attempt.run(DTP_FILES=str(attempt.root / "entry" / "files")).lines == ["SRR1"]


@pytest.mark.parametrize("given", ["", "/nowhere"])
def test_without_files_their_directory_is_empty(attempt: Attempt, given: str) -> None:
    attempt.script('#!/bin/sh\nset -eu; cd "$DTP_FILES"; ls -A; echo none')
    assert attempt.run(DTP_FILES=given).lines == ["none"]


def test_a_broken_pipe_ends_a_writer_as_usual(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/bash\nyes | head -n 1; echo ${PIPESTATUS[0]}").run()
    assert ended.lines == ["y", "141"]


# --- secrets ---


def test_secrets_named_like_variables_are_exported(attempt: Attempt) -> None:
    attempt.secret("TOKEN", b"two\nlines\n")
    attempt.secret("_KEY2", b"")
    attempt.secret("key.json", b"{}")
    attempt.secret("lower", b"x")
    attempt.secret("..data", b"x")
    ended = attempt.script('#!/bin/sh\necho "$TOKEN/${_KEY2-unset}"; ls $DTP_SECRETS; env').run()
    assert ended.lines[:2] == ["two", "lines/"]
    assert "key.json" in ended.lines
    assert not [line for line in ended.lines if line.startswith(("key.json=", "lower="))]
    assert ended.termination["warnings"] == []


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "BASH_ENV", "DTP_REF", "IFS", "UID"])
def test_a_secret_cannot_take_a_name_of_the_system(attempt: Attempt, name: str) -> None:
    attempt.secret(name, b"/evil")
    attempt.secret("AFTER", b"it")
    ended = attempt.script("#!/bin/sh\necho $AFTER $DTP_REF; env").run()
    assert ended.lines[0] == "it dtp-aws/foo"
    assert f"{name}=/evil" not in ended.lines
    assert name in ended.termination["warnings"][0]


def test_secrets_are_files_of_the_scripts_own(attempt: Attempt) -> None:
    attempt.secret("id_ed25519", b"a key\n\0end")
    attempt.secret("TOKEN", b"a token")
    script = """#!/bin/sh
        stat -c %a "$DTP_SECRETS" "$DTP_SECRETS"/*
        sha256sum <"$DTP_SECRETS/id_ed25519"
        echo more >>"$DTP_SECRETS/id_ed25519" && echo writable
        cat "$DTP_SECRETS/TOKEN"
        """
    ended = attempt.script(script).run()
    digest = hashlib.sha256(b"a key\n\0end").hexdigest()
    assert ended.lines[:6] == ["700", "600", "600", f"{digest}  -", "writable", "a token"]
    assert (attempt.root / "secrets" / "id_ed25519").read_bytes() == b"a key\n\0end"


def test_secrets_that_cannot_be_copied_stay_where_they_are_mounted(attempt: Attempt) -> None:
    attempt.secret("key", b"x")
    (attempt.root / "home").mkdir(exist_ok=True)
    (attempt.root / "home" / ".dtp-secrets").write_text("in the way")
    ended = attempt.script('#!/bin/sh\ncat "$DTP_SECRETS/key"').run()
    assert (ended.code, ended.lines[0]) == (0, "x")


def test_a_missing_secrets_directory_is_fine(attempt: Attempt) -> None:
    assert attempt.script("#!/bin/sh\n").run(DTP_SECRETS="").code == 0


READS = '#!/bin/sh\n[ ! -f "$DTP_SECRETS/key" ] || cat "$DTP_SECRETS/key"\n'


def test_a_secret_that_a_script_reads_and_is_not_there_is_warned_of(attempt: Attempt) -> None:
    ended = attempt.script(READS).run()
    (told,) = ended.termination["warnings"]
    assert told == "the script reads a Secret and was given none: ask the cluster's admin for it"


def test_a_secret_that_is_there_or_only_in_a_comment_is_not_warned_of(attempt: Attempt) -> None:
    assert attempt.script("#!/bin/sh\n# $DTP_SECRETS/key\n").run().termination["warnings"] == []
    attempt.secret("key", b"x")
    assert attempt.script(READS).run(DTP_ATTEMPT="2").termination["warnings"] == []


# --- exit codes ---


@pytest.mark.parametrize("code", [0, 1, 127, 137, 189, 200, 255])
def test_the_scripts_exit_code_passes_through(attempt: Attempt, code: int) -> None:
    ended = attempt.script(f"#!/bin/sh\nexit {code}").run()
    assert ended.code == ended.result["exit"] == ended.result["script_exit"] == code
    assert ended.result == ended.termination


@pytest.mark.parametrize("code", [190, 194, 199])
def test_the_runners_own_codes_are_told_as_189(attempt: Attempt, code: int) -> None:
    ended = attempt.script(f"#!/bin/sh\nexit {code}").run()
    assert (ended.code, ended.result["exit"], ended.result["script_exit"]) == (189, 189, code)
    assert str(code) in ended.result["warnings"][0]


def test_other_exit_codes_too(tmp_path: Path) -> None:
    for code in range(3, 256, 7):
        attempt = Attempt(shell=[program("busybox"), "sh"], root=tmp_path / str(code))
        ended = attempt.script(f"exit {code}").run()
        assert ended.code == (189 if 190 <= code <= 199 else code)


def test_a_script_killed_by_a_signal_is_128_and_the_signal(attempt: Attempt) -> None:
    assert attempt.script("#!/bin/sh\nkill -9 $$").run().code == 137


# --- what cannot be used ---


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DTP_DIRECTORY", "/proc/none"),
        ("DTP_STATE", "/proc/none"),
        ("DTP_SCRIPT", "/proc/none"),
        ("TMPDIR", "/proc/none"),
        ("HOME", "/proc/none"),
        ("DTP_REF", ""),
        ("DTP_RETRIES", "many"),
        ("DTP_HEARTBEAT", "0"),
        ("DTP_UID", "../../x"),
    ],
)
def test_what_cannot_be_used_is_190_and_named(attempt: Attempt, variable: str, value: str) -> None:
    ended = attempt.script("#!/bin/sh\ntouch ran").run(**{variable: value})
    assert ended.code == ended.termination["exit"] == 190
    assert (
        value.removesuffix("/x") in ended.termination["error"]
        or variable in (ended.termination["error"])
    )
    assert not (attempt.directory / "ran").exists()
