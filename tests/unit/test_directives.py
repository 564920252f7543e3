from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import directives
from dtp_action.core.model import Directives, Finding, Notify


def read(*lines: str) -> Directives:
    asked, findings = directives.parse("\n".join(lines), "p")
    assert findings == ()
    return asked


def wrong(*lines: str) -> list[Finding]:
    return list(directives.parse("\n".join(lines), "p")[1])


def told(*lines: str) -> list[tuple[int, int, str, str]]:
    return [(one.line, one.column, one.code, one.fix) for one in wrong(*lines)]


def test_every_directive_is_read() -> None:
    assert read(
        "#!/bin/bash",
        "#DTP cpu=500m memory=8G disk=100Gi time=90m",
        "",
        "# Chromosome 7, twice a year.",
        "#DTP retries=2 resume=yes attempt=3 notify=fail",
        "#DTP secret=lab-key secret=other.key",
        "echo",
    ) == Directives(
        cpu_millis=500,
        memory=8 * 10**9,
        disk=100 * 2**30,
        time=5400,
        retries=2,
        resume=True,
        attempt=3,
        secrets=("lab-key", "other.key"),
        notify=Notify.FAIL,
    )


def test_a_script_without_directives_leaves_all_to_its_row() -> None:
    assert read("#!/bin/sh", "echo") == Directives()


def test_a_space_before_the_mark_s_name_is_accepted() -> None:
    assert read("# DTP cpu=2").cpu_millis == 2000


def test_tabs_and_trailing_space_do_not_matter() -> None:
    assert read("#DTP\tcpu=2 \t time=1h  ") == Directives(cpu_millis=2000, time=3600)


def test_the_same_secret_twice_is_one_secret() -> None:
    assert read("#DTP secret=a", "#DTP secret=a").secrets == ("a",)


@pytest.mark.parametrize(
    "comment",
    [
        "# dtp is how we move data",
        "# see dtp-aws for another way",
        "#dtpx cpu=2",
        "# The DTP of Reed's lab: cpu=2",
        "# adtp cpu=2",
        "# http://dtp.example.org/?a=b",
    ],
)
def test_a_comment_that_only_speaks_of_dtp_is_a_comment(comment: str) -> None:
    assert read(comment) == Directives()


@pytest.mark.parametrize(
    "line",
    [
        "#dtp cpu=2",
        "#DTP: cpu=2",
        "#Dtp cpu=2",
        "# dtp cpu=2",
        "##DTP cpu=2",
        "#  DTP cpu=2",
        "#\tDTP cpu=2",
        " #DTP cpu=2",
        "#DTP:cpu=2",
        "#DTPcpu=2",
        "# DTP: cpu: 2",
        "#DTP, cpu = 2",
    ],
)
def test_a_near_miss_of_the_mark_is_an_error_with_the_corrected_line(line: str) -> None:
    (finding,) = wrong("#!/bin/sh", line)
    assert (finding.line, finding.code, finding.fix) == (2, "directive-mark", "#DTP cpu=2")
    assert finding.message == "looks like a directive, but the mark is `#DTP` and a space"


@pytest.mark.parametrize("line", ["#dtp", "#DTP:", "#DTP: fetch the genome"])
def test_a_near_miss_that_cannot_be_corrected_is_an_error_all_the_same(line: str) -> None:
    assert told(line) == [(1, 1, "directive-mark", "")]


def test_an_unknown_key_names_the_one_that_was_meant() -> None:
    (finding,) = wrong("#!/bin/sh", "#DTP cpu=2 mem=8GB")
    assert finding == Finding(
        path="p",
        line=2,
        column=12,
        code="directive-unknown",
        message="`mem` is no directive; did you mean `memory`?",
        fix="#DTP cpu=2 memory=8G",
    )


def test_an_unknown_key_like_no_other_is_told_what_there_is() -> None:
    (finding,) = wrong("#DTP gpu_model=a100")
    assert finding.message == (
        "`gpu_model` is no directive; known are "
        "attempt, cpu, disk, kind, manifest, memory, notify, resume, retries, secret, time"
    )


def test_a_repeated_key_names_the_line_that_set_it() -> None:
    (finding,) = wrong("#DTP cpu=2", "#DTP time=1h cpu=4")
    assert (finding.line, finding.column, finding.code) == (2, 14, "directive-repeated")
    assert finding.message == "`cpu` is set on line 1 already"


@pytest.mark.parametrize("line", ["#DTP time=2h", "# DTP time=2h", "#dtp time=2h"])
def test_a_directive_after_the_first_command_is_an_error(line: str) -> None:
    (finding,) = wrong("#!/bin/sh", "set -e", line)
    assert (finding.line, finding.code, finding.fix) == (3, "directive-misplaced", "#DTP time=2h")
    assert finding.message == "stands after the first command; move it to the top"


@pytest.mark.parametrize(
    ("line", "column", "code", "fix"),
    [
        ("#DTP", 1, "directive-form", ""),
        ("#DTP now", 6, "directive-form", ""),
        ("#DTP cpu = 2", 6, "directive-form", "#DTP cpu=2"),
        ("#DTP cpu=2 # big", 12, "directive-form", "#DTP cpu=2"),
        ("#DTP # big", 6, "directive-form", ""),
        ("#DTP cpu=", 6, "directive-value", ""),
        ("#DTP cpu=2,time=1h", 6, "directive-value", "#DTP cpu=2 time=1h"),
        ("#DTP cpu=$CPUS", 6, "directive-value", ""),
        ("#DTP cpu=0", 6, "directive-value", ""),
        ("#DTP CPU=2", 6, "directive-unknown", "#DTP cpu=2"),
        ('#DTP memory="8Gi"', 6, "directive-value", "#DTP memory=8Gi"),
        ("#DTP memory=8", 6, "directive-value", ""),
        ("#DTP time=90min", 6, "directive-value", "#DTP time=90m"),
        ("#DTP retries=6", 6, "directive-value", ""),
        ("#DTP retries=-1", 6, "directive-value", ""),
        ("#DTP resume=true", 6, "directive-value", "#DTP resume=yes"),
        ("#DTP notify=Never", 6, "directive-value", "#DTP notify=never"),
        ("#DTP attempt=0", 6, "directive-value", ""),
        ("#DTP attempt=100000", 6, "directive-value", ""),
        ("#DTP secret=../etc", 6, "directive-value", ""),
        ("#DTP secret=Lab_Key", 6, "directive-value", ""),
    ],
)
def test_a_wrong_value_is_an_error_at_its_column(
    line: str, column: int, code: str, fix: str
) -> None:
    assert (1, column, code, fix) in told(line)


def test_a_value_says_how_it_is_written() -> None:
    (finding,) = wrong("#DTP time=2hours")
    assert finding.message == ("time: `2hours` is not a time; write it like `90m`, `24h` or `7d`")


def test_every_mistake_of_a_line_is_told() -> None:
    codes = [code for _, _, code, _ in told("#DTP cpu=x mem=1 now")]
    assert codes == ["directive-value", "directive-unknown", "directive-form"]


def test_where_a_directive_is_set_can_be_found_again() -> None:
    text = "#!/bin/sh\n\n#DTP cpu=2 time=1h\n"
    assert directives.stated(text, "time=") == (3, "#DTP cpu=2 time=1h", "time=1h")
    assert directives.stated(text, "disk=") == (0, "", "")


@given(st.text(alphabet="#DTPdtp cpumemory=:28GiBsecret\t\n,'\"$-", max_size=80))
def test_any_text_is_read_and_each_correction_is_itself_correct(text: str) -> None:
    for finding in wrong(text):
        assert finding.line >= 1
        assert (
            not finding.fix or wrong(finding.fix) == [] or "repeated" in wrong(finding.fix)[0].code
        )
