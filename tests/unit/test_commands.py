"""What a comment asks for, and who may ask."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import commands
from dtp_action.core.commands import Command, Request, Verb
from dtp_action.core.model import Phase, Ref
from dtp_action.core.pulls import Asked, Permission
from tests.unit.test_comment import rows_of, told

GENOME = Ref("aws", "genome")


def asked(**facts: Any) -> Asked:
    defaults: dict[str, Any] = {
        "id": 1,
        "author": "ada",
        "human": True,
        "edited": False,
        "body": "",
        "number": 7,
        "base": "main",
        "pull_author": "ada",
        "merged": True,
    }
    return Asked(**defaults | facts)


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/dtp status", Command(verb=Verb.STATUS)),
        ("/dtp", Command(verb=Verb.HELP)),
        ("/dtp status dtp-aws/genome", Command(verb=Verb.STATUS, ref=GENOME)),
        ("/dtp retry dtp-aws/genome", Command(verb=Verb.RETRY, ref=GENOME)),
        ("/dtp  cancel  `dtp-aws/genome` ", Command(verb=Verb.CANCEL, ref=GENOME)),
        ("/dtp retry dtp-jobs/dtp-aws/genome.sh", Command(verb=Verb.RETRY, ref=GENOME)),
        ("/dtp logs dtp-aws/genome 20", Command(verb=Verb.LOGS, ref=GENOME, lines=20)),
        ("/dtp logs dtp-aws/genome 99999", Command(verb=Verb.LOGS, ref=GENOME, lines=200)),
        ("/dtp help\r\nplease", Command(verb=Verb.HELP)),
        ("\n  /dtp help", Command(verb=Verb.HELP)),
        ("/DTP status", Command(verb=Verb.STATUS)),
        ("/Dtp Retry dtp-aws/genome", Command(verb=Verb.RETRY, ref=GENOME)),
        ("```text\n/dtp retry dtp-aws/genome\n```", Command(verb=Verb.RETRY, ref=GENOME)),
    ],
)
def test_a_command_is_read_from_a_line(body: str, command: Command) -> None:
    assert commands.parse(body) == Request(commands=(command,))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "> /dtp help",
        "please /dtp help",
        "/dtphelp",
        "see\n> /dtp help",
        "A failed job runs again by a comment:\n```\n/dtp retry dtp-aws/genome\n```",
    ],
)
def test_other_text_asks_nothing(body: str) -> None:
    assert commands.parse(body) is None


RETRIES = tuple(Command(verb=Verb.RETRY, ref=Ref("aws", name)) for name in ("a", "b", "c"))
BLOCK = "\n".join(command.written for command in RETRIES)


@pytest.mark.parametrize(
    "body",
    [
        BLOCK,
        BLOCK.replace("\n", "\r\n\r\n"),
        f"```text\n{BLOCK}\n```\n",
        f"~~~~\n{BLOCK}\n~~~~",
        BLOCK.replace("/dtp retry", "/DTP Retry"),
        f"{BLOCK}\n{BLOCK}",
        f"{BLOCK}\nThe server is up again, thank you!\n> /dtp cancel dtp-aws/a",
    ],
)
def test_every_line_at_the_top_of_a_comment_is_a_command(body: str) -> None:
    assert commands.parse(body) == Request(commands=RETRIES)


def test_the_block_that_a_comment_of_ours_offers_is_read_as_it_is_pasted() -> None:
    rows = rows_of(*[Phase.FAILED] * 45)
    blocks = re.findall(r"(?ms)^```text\n/dtp retry.*?^```$", told(rows))
    requests = [commands.parse(block) for block in blocks]
    assert [request.left_out for request in requests if request] == [()] * 3
    asked = [one for request in requests if request for one in request.commands]
    assert [one.written for one in asked if isinstance(one, Command)] == [
        f"/dtp retry {ref}" for ref in sorted(row["ref"] for row in rows)
    ]


def test_a_command_below_other_text_is_not_carried_out_and_that_is_said() -> None:
    found = commands.parse("/dtp status\nThanks.\n/dtp cancel dtp-aws/a\n/dtp help")
    assert found
    assert found.commands == (Command(verb=Verb.STATUS),)
    (why,) = found.left_out
    assert why.startswith("2 lines with `/dtp` below other text")
    (alone,) = (commands.parse("Hello,\n\n/dtp status") or Request(commands=())).left_out
    assert alone.startswith("1 line with `/dtp` below other text")


def test_of_too_many_commands_the_first_are_carried_out_and_the_others_counted() -> None:
    body = "\n".join(f"/dtp retry dtp-aws/{n}" for n in range(commands.MOST_COMMANDS + 3))
    found = commands.parse(body)
    assert found
    assert len(found.commands) == commands.MOST_COMMANDS
    assert "3 more are left out" in found.left_out[0]


@given(st.lists(st.sampled_from(["/dtp status", "/Dtp x", "text", "```", "> /dtp help", "", " "])))
def test_whatever_begins_with_a_command_is_answered(lines: list[str]) -> None:
    found = commands.parse("\n".join(lines))
    first = next((line for line in lines if line.strip() and line != "```"), "")
    assert bool(found and found.commands) == first.lower().startswith("/dtp")


@pytest.mark.parametrize(
    "body",
    [
        "/dtp retry",
        "/dtp retry genome",
        "/dtp retry dtp-aws/../genome",
        "/dtp retry dtp-aws/genome now",
        "/dtp logs dtp-aws/genome -5",
        "/dtp logs dtp-aws/genome ٣",
        "/dtp help me",
        "/dtp retri dtp-aws/genome",
        "/dtp <img>",
    ],
)
def test_what_cannot_be_understood_says_how_it_is_written(body: str) -> None:
    request = commands.parse(body)
    assert request
    (answer,) = request.commands
    assert isinstance(answer, str)
    assert "<img>" not in answer
    assert "is how it is written" in answer or "is no command" in answer


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_or_comes_back_unescaped(text: str) -> None:
    request = commands.parse(f"/dtp {text}")
    assert request
    for answer in request.commands:
        if isinstance(answer, str):
            told = answer.replace("dtp-<protocol>/<job>", "").replace("[n]", "")
            assert not set("<>@[]|\n") & set(told)
        else:
            assert commands.parse(answer.written) == Request(commands=(answer,))


WRITERS, READERS = (Permission.WRITE, Permission.ADMIN), (Permission.READ, Permission.NONE)


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("permission", WRITERS)
def test_who_can_write_may_do_all(verb: Verb, permission: Permission) -> None:
    command = Command(verb=verb, ref=GENOME)
    stranger = asked(author="grace", merged=False)
    assert commands.refusal(command, stranger, permission) == ""
    assert commands.foreign(command, permission, ()) == ""


@pytest.mark.parametrize("permission", READERS)
def test_an_author_may_do_all_with_the_jobs_of_their_merged_pull_request(
    permission: Permission,
) -> None:
    for verb in Verb:
        command = Command(verb=verb, ref=GENOME)
        assert commands.refusal(command, asked(), permission) == ""
        assert commands.foreign(command, permission, {GENOME}) == ""


@pytest.mark.parametrize(
    "facts", [{"author": "mallory"}, {"merged": False}, {"author": None, "pull_author": None}]
)
def test_all_others_are_told_what_it_takes_and_what_they_have(facts: dict[str, Any]) -> None:
    for verb in set(Verb) - {Verb.HELP}:
        command = Command(verb=verb, ref=GENOME)
        why = commands.refusal(command, asked(**facts), Permission.READ)
        assert "`write`" in why
        assert "`read`" in why


def test_a_job_of_another_pull_request_is_not_theirs() -> None:
    command = Command(verb=Verb.RETRY, ref=GENOME)
    assert "`write`" in commands.foreign(command, Permission.READ, {Ref("aws", "other")})


def test_help_lists_every_command() -> None:
    assert all(f"`{form}`" in commands.help_text() for form, _ in commands.FORMS.values())
