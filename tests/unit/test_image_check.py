"""What is said of the catalog's images, and of the one issue about them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dtp_action.core import catalog, images, issues
from dtp_action.core.images import Found, Image, Reference, Seen, State, Unseen, Verdict
from dtp_action.core.issues import Close, Issue, Open, Rewrite
from dtp_action.errors import Exit

OLD, NEW, MOVED = (f"sha256:{digit * 64}" for digit in "123")
PLACE = "quay.io/group/tool"
PINNED = f"{PLACE}:1.2.3@{OLD}"


def image(text: str = PINNED, *, key: str = "image", built_in: bool = False) -> Image:
    reference = Reference.parse(text)
    return Image(reference=reference, key=key, folders=("dtp-tool",), built_in=built_in)


def found(seen: Seen | Unseen, text: str = PINNED, *, built_in: bool = False) -> list[Found]:
    return list(images.judge(image(text, built_in=built_in), seen).found)


def verdict(state: State, text: str = PINNED, message: str = "so it is") -> Verdict:
    return Verdict(image=image(text), found=(Found(state=state, message=message),))


# --- which images? -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        (f"quay.io/a/b:1@{OLD}", "quay.io", "a/b", "1", OLD),
        ("localhost:5000/a:1", "localhost:5000", "a", "1", ""),
        (f"127.0.0.1:5000/a/b@{OLD}", "127.0.0.1:5000", "a/b", "", OLD),
        ("docker.io/alpine:3.23", "docker.io", "library/alpine", "3.23", ""),
        ("quay.io/alpine:3.23", "quay.io", "alpine", "3.23", ""),
    ],
)
def test_a_reference_is_taken_apart_and_written_as_it_was(
    text: str, registry: str, repository: str, tag: str, digest: str
) -> None:
    read = Reference.parse(text)
    assert (read.registry, read.repository, read.tag, read.digest) == (
        registry, repository, tag, digest,
    )  # fmt: skip
    assert read.text == text


def test_each_image_is_named_once_with_all_that_use_it_and_none_that_are_off() -> None:
    site = "version: 1\nprotocols:\n" + "\n".join(
        f"  {name}: {{{row}}}"
        for name, row in {
            "aws": "off: true",
            "mine": f"image: {PINNED}, serviceImage: {PINNED}",
            "yours": f"serviceImage: {PINNED}",
            "other": "serviceImage: quay.io/group/other:1",
        }.items()
    )
    rows = catalog.parse(site, "x", base=catalog.builtin())
    named = {one.reference.text: one for one in images.named(rows)}
    assert not any("aws-cli" in text for text in named)
    mine, other = named[PINNED], named["quay.io/group/other:1"]
    assert (mine.folders, mine.key, mine.built_in) == (("dtp-mine", "dtp-yours"), "image", False)
    assert (other.folders, other.key) == (("dtp-other",), "serviceImage")
    assert sum(one.built_in for one in named.values()) == len(named) - 2


# --- a newer tag? --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "others", "wanted"),
    [
        ("2.37.5", "2.9.9 2.38.0 2.37.10 latest", "2.38.0"),
        ("587.0.0-slim", "588.0.0 588.0.0-slim 589.0.0-alpine", "588.0.0-slim"),
        (
            "RELEASE.2025-08-13T08-35-41Z",
            "RELEASE.2025-07-21T05-28-08Z RELEASE.2025-11-01T00-00-00Z"
            " RELEASE.2026-01-01T00-00-00Z.fips",
            "RELEASE.2025-11-01T00-00-00Z",
        ),
        ("alpine3.23-r3", "alpine3.23-r10 alpine3.9-r30 alpine4 alpine", "alpine3.23-r10"),
        ("2.37.5", "2.37 3 3.0.0-rc1 v3.0.0 3.0.0.1", None),
        ("2.37.5", "2.37.5 2.37.05", None),
        ("3.0.0-rc1", "3.0.0-rc2 3.0.0", "3.0.0-rc2"),
        ("1.0", "", None),
        ("latest", "1 2 latest2", None),
        ("sha-1a2b3c4", "sha-9a9b9c9", None),
        ("1-0a1b2c3", "2-9a1b2c3", None),
        ("1.0", "1.1 9abcdef0", "1.1"),
    ],
)
def test_the_newest_of_the_tags_of_one_form_is_found(
    tag: str, others: str, wanted: str | None
) -> None:
    assert images.newest(tag, others.split()) == wanted


# --- what is so? ---------------------------------------------------------------------------------


def test_an_image_that_is_there_and_whose_tag_points_to_it_is_current() -> None:
    (said,) = found(Seen(pinned=True, tagged=OLD))
    assert (said.state, said.fix) == (State.CURRENT, "")


def test_one_that_is_named_by_its_digest_alone_is_current_while_it_is_there() -> None:
    assert [one.state for one in found(Seen(pinned=True), f"{PLACE}@{OLD}")] == [State.CURRENT]
    assert [one.state for one in found(Seen(), f"{PLACE}@{OLD}")] == [State.GONE]


def test_a_tag_that_points_elsewhere_is_told_with_the_line_for_what_it_is_now() -> None:
    (said,) = found(Seen(pinned=True, tagged=MOVED))
    assert (said.state, said.fix) == (State.MOVED, f"image: {PLACE}:1.2.3@{MOVED}")


def test_a_tag_that_is_gone_is_told_while_what_is_pinned_is_there() -> None:
    (said,) = found(Seen(pinned=True))
    assert (said.state, said.fix) == (State.MOVED, "")
    assert "is gone" in said.message


def test_a_pinned_image_that_is_gone_is_gone_wherever_its_tag_points() -> None:
    (said,) = found(Seen(tagged=MOVED))
    assert (said.state, said.fix) == (State.GONE, f"image: {PLACE}:1.2.3@{MOVED}")
    (said,) = found(Seen())
    assert (said.state, said.fix) == (State.GONE, "")


def test_an_image_without_a_digest_is_told_with_the_one_it_has_now() -> None:
    (said,) = found(Seen(tagged=NEW), f"{PLACE}:1.2.3")
    assert (said.state, said.fix) == (State.UNPINNED, f"image: {PLACE}:1.2.3@{NEW}")
    assert found(Seen(), f"{PLACE}:1.2.3")[0].state is State.GONE


def test_a_newer_tag_is_told_beside_whatever_else_is_so() -> None:
    newer = ("1.3.0", NEW)
    line = f"image: {PLACE}:1.3.0@{NEW}"
    (alone,) = found(Seen(pinned=True, tagged=OLD, newer=newer))
    assert (alone.state, alone.fix) == (State.NEWER, line)
    both = found(Seen(tagged=OLD, newer=newer), f"{PLACE}:1.2.3")
    assert [one.state for one in both] == [State.UNPINNED, State.NEWER]


def test_the_line_to_write_has_the_key_of_the_row() -> None:
    service = image(f"{PLACE}:1", key="serviceImage")
    (said,) = images.judge(service, Seen(tagged=NEW)).found
    assert said.fix == f"serviceImage: {PLACE}:1@{NEW}"


def test_what_a_registry_shows_to_nobody_is_gone_where_everybody_could_pull_it() -> None:
    refused = Unseen(why="HTTP 401", refused=True)
    assert found(refused, built_in=True)[0].state is State.GONE
    assert found(refused)[0].state is State.DENIED
    assert found(Unseen(why="HTTP 503"), built_in=True)[0].state is State.UNAVAILABLE


def test_tags_that_nobody_lists_are_told() -> None:
    (said,) = found(Seen(pinned=True, tagged=OLD, unlisted="HTTP 404"))
    assert said.state is State.CURRENT
    assert said.message.endswith("whether there is a newer tag is not known: HTTP 404")


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "alone", "with_issue"),
    [
        ([], Exit.DONE, Exit.DONE),
        ([State.CURRENT, State.DENIED], Exit.DONE, Exit.DONE),
        ([State.CURRENT, State.NEWER], Exit.BAD_OUTCOME, Exit.DONE),
        ([State.MOVED], Exit.BAD_OUTCOME, Exit.DONE),
        ([State.UNPINNED], Exit.BAD_OUTCOME, Exit.DONE),
        ([State.GONE, State.UNAVAILABLE], Exit.BAD_OUTCOME, Exit.UNAVAILABLE),
        ([State.CURRENT, State.UNAVAILABLE], Exit.UNAVAILABLE, Exit.UNAVAILABLE),
    ],
)
def test_the_exit_code_says_what_nothing_else_does(
    states: list[State], alone: Exit, with_issue: Exit
) -> None:
    verdicts = [verdict(state) for state in states]
    assert images.exit_code(verdicts, told=False) is alone
    assert images.exit_code(verdicts, told=True) is with_issue


def test_one_line_counts_them() -> None:
    verdicts = [verdict(State.CURRENT), verdict(State.GONE), verdict(State.CURRENT)]
    assert images.summary(verdicts) == "3 images: 2 current, 1 gone"
    assert images.summary(verdicts[:1]) == "1 image: 1 current"
    assert images.summary([]) == "the catalog names no image"


# --- the one issue -------------------------------------------------------------------------------

MARK = images.mark("")
BAD, GOOD, AWAY = verdict(State.GONE), verdict(State.CURRENT), verdict(State.UNAVAILABLE)


def issue(body: str, number: int = 7, *, is_open: bool = True) -> Issue:
    return Issue(number=number, body=body, open=is_open, url=f"https://example.org/{number}")


def steps(*verdicts: Verdict, there: Sequence[Issue] = (), name: str = "") -> list[issues.Step]:
    return images.steps(verdicts, there, name=name, run_url="https://example.org/run")


def text(*verdicts: Verdict) -> str:
    return f"{MARK}\n{images.body(verdicts)}"


def test_an_issue_is_opened_when_something_needs_attention() -> None:
    (opened,) = steps(GOOD, BAD)
    assert opened == Open(title="Images of the catalog need attention", body=text(BAD))
    assert steps(GOOD) == []


def test_it_is_rewritten_only_when_it_says_something_else() -> None:
    there = issue(text(BAD).replace("\n", "\r\n") + "\r\n")
    assert steps(BAD, there=[there]) == []
    other = verdict(State.NEWER, message="1.4.0 is there")
    assert steps(other, there=[there]) == [Rewrite(issue=there, body=text(other))]


def test_it_is_closed_with_a_comment_when_all_is_well() -> None:
    there = issue(text(BAD))
    (closed,) = steps(GOOD, there=[there])
    assert isinstance(closed, Close)
    assert closed.issue == there
    assert "(https://example.org/run)" in closed.text
    assert steps(GOOD, there=[issue(text(BAD), is_open=False)]) == []


def test_it_is_opened_again_with_the_same_words_too() -> None:
    there = issue(text(BAD), is_open=False)
    assert steps(BAD, there=[there]) == [Rewrite(issue=there, body=text(BAD))]


def test_what_cannot_be_asked_today_leaves_what_it_said_before() -> None:
    there = issue(text(BAD))
    assert steps(AWAY, there=[there]) == []
    elsewhere = verdict(State.UNAVAILABLE, f"quay.io/group/other:1@{OLD}")
    (closed,) = steps(GOOD, elsewhere, there=[there])
    assert isinstance(closed, Close), "the issue was never about that one"


def test_two_that_were_opened_at_once_become_one() -> None:
    first, second = issue(text(BAD)), issue(text(BAD), 8)
    (closed,) = steps(BAD, there=[first, second])
    assert closed == Close(issue=second, text="See #7.")
    assert len(steps(GOOD, there=[first, second])) == 2


def test_each_cluster_has_its_own() -> None:
    (opened,) = steps(BAD, name="north")
    assert isinstance(opened, Open)
    assert opened.title.endswith("(north)")
    assert opened.body.startswith(images.mark("north"))
    assert not opened.body.startswith(MARK)


def test_the_issue_has_the_line_to_paste_and_nothing_that_acts() -> None:
    one = images.judge(image(), Seen(pinned=True, tagged=MOVED, newer=("1.9.0", NEW)))
    body = images.body([one])
    for digest, tag in ((MOVED, "1.2.3"), (NEW, "1.9.0")):
        assert f"```text\nimage: {PLACE}:{tag}@{digest}\n```" in body
    assert "@" not in images.body([verdict(State.GONE, f"{PLACE}:1", "says @ada")]).replace(
        "@\u200b", ""
    )
