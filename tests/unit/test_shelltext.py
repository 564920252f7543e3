from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import shelltext
from tests.growth import assert_linear, filled


def commands(text: str) -> list[str]:
    """Return each command as `block: words [redirections] operator`."""
    return [
        f"{one.block.kind}: {' '.join(word.text for word in one.words)}"
        + "".join(f" {operator}{word.text}" for operator, word in one.redirects)
        + (f" {{{one.body.kind}}}" if one.body else "")
        + f" {one.after.strip()}".rstrip()
        for one in shelltext.read(text).commands
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a b 'c d' \"e $f\"", ["top: a b c d e $f"]),
        ("a; b & c | d", ["top: a ;", "top: b &", "top: c |", "top: d"]),
        ("a && b || c", ["top: a &&", "top: b ||", "top: c"]),
        ("a \\\n b # c; d", ["top: a b"]),
        ("a#b '#' c", ["top: a#b # c"]),
        ("a >b 2>&1 <c", ["top: a >b 2>&1 <c"]),
        ("a <<E; b\n; c $(d\nE\ne", ["top: a <<E ;", "top: b", "top: e"]),
        ("a <<-'E'\nx\n\tE\nb", ["top: a <<-E", "top: b"]),
        ("if a; then b; else c; fi", ["if: a ;", "if: b ;", "if: c ;", "top:  {if}"]),
        ("while read x; do a; done <l", ["loop: read x ;", "loop: a ;", "top:  <l {loop}"]),
        ("for i in a b; do c; done &", ["loop: for i in a b ;", "loop: c ;", "top:  {loop} &"]),
        ("for ((;;)); do a; done", ["loop: for ((;;)) ;", "loop: a ;", "top:  {loop}"]),
        ("f() { a; }", ["function: a ;", "top:  {function}"]),
        ("function g { b; }", ["function: b ;", "top:  {function}"]),
        ("(a; b) | c", ["subshell: a ;", "subshell: b )", "top:  {subshell} |", "top: c"]),
        ("x=$(a | b) c", ["top: x=$(a | b) c", "substitution: a |", "substitution: b )"]),
        ("a \"$(b \"c\")\" `d`", ["top: a $(b c) `d`", "substitution: b c )", "substitution: d )"]),
        ("case $x in a|b) c ;; esac", ["case: case $x in in", "case: c ;;", "top:  {case}"]),
        ("case x in (d) e;; *) f; esac", ["case: case x in in", "case: e ;;", "case: f ;",
          "top:  {case}"]),
        ("[[ a && b > c ]] && d", ["top: [[ a b c ]] &&", "top: d"]),
        ("x=(a 'b' $(c)\n d); e", ["top: x=(a b $(c)\n d) ;", "substitution: c )", "top: e"]),
        ("diff <(a) >(b)", ["top: diff <(a) >(b)", "substitution: a )", "substitution: b )"]),
        ("echo $((1 + (2))) ${a:-\"b c\"}", ["top: echo $((1 + (2))) ${a:-b c}"]),
        ("! time a", ["top: a"]),
        ("echo if then; a done", ["top: echo if then ;", "top: a done"]),
    ],
)  # fmt: skip
def test_a_script_is_read_into_its_commands(text: str, read: list[str]) -> None:
    assert commands(text) == read


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("nohup nice -n 10 rclone copy", "rclone"),
        ("A=1 env B=2 timeout -k 5s 2h aws s3", "aws"),
        ("xargs -n 1 curl", "curl"),
        ("exec rclone", "rclone"),
        ("time", ""),
    ],
)
def test_the_tool_is_found_behind_what_starts_it(text: str, tool: str) -> None:
    found = [one.tool[0].text for one in shelltext.read(text).commands if one.tool]
    assert found == ([tool] if tool else [])


def test_expansions_know_their_quotes_defaults_and_blocks() -> None:
    text = "a $1 '$2' \"$3\" ${4:-x} \\$5\nf() { b $6; }\ncat <<E\n$7\nE\ncat <<'E'\n$8\nE\n"
    found = [(one.name, one.guarded, one.block.kind) for one in shelltext.read(text).expansions]
    assert found == [
        ("1", False, "top"),
        ("3", False, "top"),
        ("4", True, "top"),
        ("6", False, "function"),
        ("7", False, "top"),
    ]


@given(st.text(alphabet="ab $(){}[]|&;<>\"'`\\\n#=1$", max_size=60))
def test_any_text_is_read_and_words_lie_within_it(text: str) -> None:
    for command in shelltext.read(text).commands:
        assert all(0 <= word.at <= word.end <= len(text) for word in command.words)


@pytest.mark.parametrize(
    "piece", ["$(", '"$(', "((a", "{ ", "`", "<<A ", "if ", "a=(", "[[ ", "${", "case x in ", "a|"]
)
def test_what_is_nested_without_end_is_read_in_proportion_to_its_length(piece: str) -> None:
    assert_linear(lambda size: shelltext.read(filled(piece, size)))
