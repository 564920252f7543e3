"""Other people's text in GitHub's Markdown, judged by GitHub's own parser: it does nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import markdown, pulls
from tests.pictures import reader

HOSTILE = [
    "```\n# heading\n```",
    "~~~\n# heading\n~~~",
    "`" * 40 + "\n<h1>x</h1>\n" + "`" * 40,
    "</details></summary><details open>",
    "</code></pre><img src=x onerror=alert(1)>",
    "<script>alert(1)</script><!-- x --><a href=//evil.example>x</a>",
    f"\n{pulls.marker('status', 'main')}\n",
    "@ada and @org/team, (@ada) x@example.org, mailto:x@example.org",
    "#12 GH-12 gh-12 owner/repo#12 owner/repo@c0ffee0 CVE-2030-12345 GHSA-aaaa-bbbb-cccc",
    "c0ffee0 c0ffee0000000000000000000000000000000000 1234567",
    "https://evil.example www.evil.example _www.evil.example *www.evil.example ftp://evil.example",
    "[x](https://evil.example) ![x](https://evil.example/x.png) [x]: https://evil.example",
    "<https://evil.example> [^1] [ ] - [x] :tada: :octocat: $x^2$ $$x$$ $`x`$",
    "| a | b |\n|---|---|\n| c \\| \\\\| d | e |",
    "*a* _b_ **c** ~~d~~ __e__ ~f~ a_b_c ._x_.",
    "> [!WARNING]\n> quote\n\n---\n===\n\n1. one\n- two\n    four",
    "&lt;b&gt; &#64;ada &amp;#64;ada &commat;ada &#35;12 &colon;tada&colon;",
    "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07x\x1b]8;;\x07 \x07\x00\x9b31m",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f \ufeff \u200b@ada",
    "::set-output name=a::b\n  ::add-mask::c\n##[command]d ##[set-env name=x]y",
    "a\\`b\\|c\\",
    "===",
    "---",
    ":-:",
    "- x",
    "+ x",
    "1. x",
    "12) x",
    "# x",
    "``` `` ` ```` `",
    "\n" + "`" * 300 + "\n<h1>x</h1>\n" + "`" * 255 + "\n",
    "\ud800 \U0001f469\u200d\U0001f52c \U000e0041",
]
SHARP = "`~*_<>[]()!|\\@#:/&;$ \n\t\r-=+^1axw.\"'\x00\x1b\u202e"
CELLS = {"table", "thead", "tbody", "tr", "th", "td", "code", "span", "wbr"}

texts = st.one_of(
    st.text(),
    st.lists(
        st.one_of(
            st.sampled_from(HOSTILE),
            st.text(st.sampled_from(SHARP), max_size=12),
        ),
        max_size=6,
    ).map("".join),
)


def shown(text: str) -> str:
    """Return what is left to see of a text on one line."""
    return " ".join(markdown.inert(text).split()).replace(markdown.GAP, "")


def in_a_sentence(text: str, before: str = "said ") -> reader.Page:
    page = reader.read(f"{before}{text} and no more")
    assert set(page.tags) <= {"p", "code", "span", "wbr", "br"}, page.tags
    assert not page.unclosed
    assert not page.comments
    assert not page.linked(), page.linked()
    return page


def in_a_cell(text: str) -> reader.Page:
    page = reader.read(markdown.table(["a", "b"], [[text, "end"]]))
    assert set(page.tags) <= CELLS, page.tags
    assert (page.tags["tr"], page.tags["td"], page.tags["th"]) == (2, 2, 2)
    assert page.cells[-1] == "end"
    assert not page.comments
    assert not page.linked(), page.linked()
    return page


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_is_shown_as_it_stands_and_does_nothing(text: str) -> None:
    page = in_a_sentence(markdown.plain(text))
    assert page.text.replace(markdown.GAP, "").split() == f"said {shown(text)} and no more".split()
    in_a_sentence(markdown.plain(text), before="said\n")
    in_a_sentence(markdown.plain(text), before="")
    alone = reader.read(f"said\n{markdown.plain(text)}")
    assert set(alone.tags) <= {"p", "span", "br"}, alone.tags
    assert in_a_cell(markdown.plain(text)).cells[2].replace(markdown.GAP, "") == shown(text)


@given(texts)
def test_no_plain_text_does_anything(text: str) -> None:
    test_plain_text_is_shown_as_it_stands_and_does_nothing(text)


@given(texts)
def test_no_text_leaves_its_code(text: str) -> None:
    for made in (markdown.code(text), markdown.name(text)):
        page = in_a_sentence(made)
        assert "".join([*page.words[:1], *page.code, *page.words[1:]]).split()[0] == "said"
        assert in_a_cell(made).cells[2].replace(markdown.GAP, "").strip() == shown(text)


@given(texts)
def test_no_sentence_with_code_in_it_does_anything(text: str) -> None:
    in_a_sentence(markdown.prose(text))
    in_a_sentence(markdown.prose(text), before="")
    in_a_cell(markdown.prose(text))


@given(texts)
def test_no_text_leaves_its_block(text: str) -> None:
    page = reader.read(f"before\n\n{markdown.fenced(text)}\n\nafter")
    assert page.tags == {"p": 2, "pre": 1, "code": 1}
    assert page.code[0].replace(markdown.GAP, "") == (
        markdown.inert(text).replace(markdown.GAP, "").strip("\n") + "\n"
    )
    assert [word.strip() for word in page.words if word.strip()] == ["before", "after"]


@given(texts, texts)
def test_nothing_folded_unfolds_itself(about: str, text: str) -> None:
    page = reader.read(markdown.folded("log of", about, markdown.fenced(text)) + "\n\nafter")
    assert page.tags["details"] == page.tags["summary"] == page.tags["pre"] == page.tags["p"] == 1
    assert set(page.tags) <= {"details", "summary", "pre", "code", "p"}
    assert not page.unclosed
    assert not page.comments


@given(texts, st.sampled_from([markdown.plain, markdown.code, markdown.fenced, markdown.prose]))
def test_the_runner_obeys_no_text(text: str, made: object) -> None:
    assert callable(made)
    for line in made(text).splitlines():
        assert not line.lstrip().startswith("::")
        assert "##[" not in line


def test_nothing_hidden_is_left() -> None:
    for made in (markdown.plain, markdown.code, markdown.fenced):
        text = made("\x1b[31mred\x1b[0m\u202e\x00\x07\ufeff").replace(markdown.GAP, "")
        assert text.strip("`\n").removeprefix("text\n") == "red"


def test_what_stands_in_backticks_is_code() -> None:
    page = reader.read(markdown.prose("`tme` is no directive; did you mean `time`? a ` b"))
    assert page.code == ["tme", "time"]
    assert page.text.strip() == " is no directive; did you mean ? a ` b".strip()


def test_a_long_name_breaks_where_words_end_and_copies_whole() -> None:
    long = "dtp-aws/sequence._index_.a_www.example.org_of-2030." + "a" * 40
    made = markdown.name(long)
    assert "sequence.<wbr>&#95;index" in made
    assert max(map(len, made.split("<wbr>"))) < 40
    page = reader.read(f"| a |\n|---|\n| {made} |")
    assert page.code == [long]
    assert page.tags["a"] == page.tags["em"] == 0


def test_a_long_word_breaks_in_a_cell() -> None:
    assert max(map(len, markdown.plain("x" * 200).split(markdown.GAP))) <= 24


def test_a_link_leads_to_its_address_only() -> None:
    page = reader.read(
        "see " + markdown.link("`c0ffee`", "https://x.example/a b(c)[d]|<e>*_f_?g=h")
    )
    assert page.links == ["https://x.example/a%20b%28c%29%5Bd%5D%7C%3Ce%3E%2A_f_?g=h"]
    assert page.code == ["c0ffee"]
    assert markdown.link("here", "javascript:alert(1)") == "here"
    assert markdown.link("here", "") == "here"
