"""The values are put together here: none stands in the repository in a form that works."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest
from detect_secrets import plugins
from detect_secrets.plugins.base import RegexBasedDetector
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtp_action.core import secrets
from tests import credentials
from tests.growth import assert_linear, filled

UUID = "-".join(digit * length for digit, length in zip("1a2b3", (8, 4, 4, 4, 12), strict=True))
LETTERS = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3gH5jK7m"  # 40 characters


PRINTED = st.characters(min_codepoint=32, max_codepoint=126)


def found_by_detect_secrets() -> list[type[RegexBasedDetector]]:
    """Return the detectors that go by shape."""
    modules = [
        importlib.import_module(f"{plugins.__name__}.{found.name}")
        for found in pkgutil.iter_modules(plugins.__path__)
    ]
    return [
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, RegexBasedDetector)
        and one.__module__ == module.__name__
        and not inspect.isabstract(one)
    ]


def pem(kind: str) -> str:
    return f"-----BEGIN {kind}-----\n{LETTERS}\n-----END {kind}-----"


TYPED = (
    ("aws-key-id", "export AWS_ACCESS_KEY_ID=" + "AKIA" + "Q3EGRHTYU5K7MNBV"),
    ("aws-secret-key", "AWS_SECRET_ACCESS_KEY='" + LETTERS + "'"),
    ("google-key", "curl https://x.example/?key=" + "AIza" + LETTERS[:35]),
    ("google-key", "gcloud --access-token " + "ya29." + LETTERS),
    ("globus-setup-key", f'GLOBUS_KEY="{UUID}"'),
    ("private-key", pem("RSA " + "PRIVATE KEY")),
    ("token", "echo " + "ghp_" + LETTERS[:36]),
    ("token", "echo " + "github_pat_" + LETTERS[:30]),
    ("token", "git clone x?" + "glpat-" + LETTERS[:20]),
    ("token", "notify " + "xoxb-" + LETTERS[:24]),
    ("token", "curl https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/" + LETTERS[:24]),
    ("token", "huggingface-cli login --token " + "hf_" + LETTERS[:34]),
    ("token", "echo " + "npm_" + LETTERS[:36]),
    ("token", "echo " + "pypi-" + LETTERS * 2),
    ("token", "echo " + "dckr_pat_" + LETTERS[:24]),
    ("token", "curl -H x:" + ".".join(("eyJ" + LETTERS, "eyJ" + LETTERS, LETTERS))),
    ("storage-key", "DefaultEndpointsProtocol=https;AccountKey=" + LETTERS * 2 + "abcdef=="),
    ("named", "curl 'https://x.example/a?X-Amz-Expires=9&X-Amz-Signature=" + "a1" * 32 + "'"),
    ("named", "curl -H 'Authorization: Bearer " + LETTERS + "'"),
    ("url-password", "curl ftp://ada:" + "l0velace" + "@ftp.example.org/x"),
    ("named", "export IRODS_USER_PASSWORD=" + "l0velace"),
    ("named", "export RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY=" + "l0velace"),
    ("named", "secret_access_key = " + "l0velace"),
    ("named", "  pass = " + "l0velace"),
    ("option", "machine data.example.org login ada password " + "l0velace"),
    ("named", "export IRODS_TICKET=" + "l0velace"),
    ("option", "gocmd get --ticket " + "l0velace /zone/x ."),
    ("option", "lftp -u ada," + "l0velace sftp://example.org"),
    ("option", "rclone --sftp-pass " + "l0velace x:y ."),
    ("option", "sshpass -p '" + "l0velace' rsync -a x:y ."),
    ("option", "curl --silent -u ada:" + "l0velace https://example.org/x"),
    ("option", "curl --user 'ada:" + "l0velace' https://example.org/x"),
    ("option", "ascli server download --password=" + "l0velace"),
    ("option", "ascli server download --secret " + "l0velace"),
    ("option", "mc alias set lab https://s3.example.org ada " + "l0velace"),
    ("option", "mc --quiet alias set lab https://s3.example.org ada '" + "l0velace'"),
)


FAMILIES = [
    pytest.param(line, id=f"{family}-{number}")
    for family, lines in credentials.TYPED.items()
    for number, line in enumerate(lines)
]
PLAIN = [
    pytest.param(line, id=f"{family}-{number}")
    for family, lines in credentials.PLAIN.items()
    for number, line in enumerate(lines)
]


def script(line: str) -> str:
    return f"#!/bin/sh\n{credentials.written(line)}\necho done\n"


def test_each_rule_has_an_example() -> None:
    lines = [line for _, line in TYPED]
    lines += [script(line) for family in credentials.TYPED.values() for line in family]
    assert {hit.rule for line in lines for hit in secrets.find(line)} == set(secrets.RULES)


@pytest.mark.parametrize("line", FAMILIES)
def test_a_typed_credential_is_found_whatever_the_tool_and_form(line: str) -> None:
    redacted = secrets.redact(script(line))
    assert "[redacted]" in redacted
    assert not [value for value in credentials.values(line) if value in redacted]
    assert redacted.startswith("#!/bin/sh\n")
    assert redacted.endswith("\necho done\n")
    assert secrets.redact(redacted) == redacted


@pytest.mark.parametrize("line", PLAIN)
def test_what_only_looks_like_a_credential_is_left_alone(line: str) -> None:
    assert secrets.redact(script(line)) == script(line)


def test_advice_is_given_for_rules_that_there_are() -> None:
    assert set(secrets.ADVICE) <= {rule.name for rule in secrets.RULES}


@pytest.mark.parametrize(("rule", "line"), TYPED)
def test_each_kind_of_secret_is_found_and_redacted(rule: str, line: str) -> None:
    text = f"#!/bin/sh\n{line}\necho done\n"
    assert rule in {hit.rule.name for hit in secrets.find(text)}
    redacted = secrets.redact(text)
    assert "[redacted]" in redacted
    assert redacted.startswith("#!/bin/sh\n")
    assert redacted.endswith("\necho done\n")
    for part in (LETTERS[:20], UUID, "l0velace", "Q3EGRHTYU5K7MNBV", "a1a1a1a1"):
        assert part not in redacted


@pytest.mark.parametrize(
    "text",
    [
        f'GLOBUS_KEY="{UUID}"',
        f"export GLOBUS_SETUP_KEY={UUID}",
        f"globusconnectpersonal -setup {UUID}",
        f"globusconnectpersonal -setup --setup-key '{UUID}'",
        f"setup_key: {UUID}",
    ],
)
def test_a_globus_setup_key_is_found_however_it_is_given(text: str) -> None:
    assert {hit.rule.name for hit in secrets.find(text)} == {"globus-setup-key"}


# Of detect-secrets: what its detector finds, ours must find, but for
PASSED_OVER = {
    "ArtifactoryDetector": "its shape is that of accession numbers, which transfers are full of",
    "CloudantDetector": "no keys of transfers",
    "IbmCloudIamDetector": "any word after a name like `cloud_pass`",
    "IbmCosHmacDetector": "any 48 digits after a name; ours wants the name to say secret",
    "IPPublicDetector": "an address is no secret here",
    "SoftlayerDetector": "the service is gone",
    "TwilioKeyDetector": "its shape is that of a checksum with two letters before it",
}
PASSED_OVER |= dict.fromkeys(
    ("BasicAuthDetector", "JwtTokenDetector", "NpmDetector", "PrivateKeyDetector", "SlackDetector"),
    "its shape has no least length; TYPED has one of each",
)
SHAPES = [
    pytest.param(regex, id=f"{detector.__name__}-{number}")
    for detector in found_by_detect_secrets()
    if detector.__name__ not in PASSED_OVER
    for number, regex in enumerate(detector().denylist)
]


def test_what_is_passed_over_is_there() -> None:
    assert PASSED_OVER.keys() <= {one.__name__ for one in found_by_detect_secrets()}


@given(data=st.data())
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_detect_secrets_finds_by_shape_is_found(
    shape: re.Pattern[str], data: st.DataObject
) -> None:
    typed = data.draw(st.from_regex(shape.pattern, fullmatch=True, alphabet=PRINTED))
    assume(not re.search(r"[0xX*]{20}", typed))  # stands for a key, and is none
    assert list(secrets.find(f" {typed} \n"))


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
def test_a_private_key_is_redacted_to_its_end(kind: str) -> None:
    text = f"a\n{pem(kind)}\nb"
    assert secrets.redact(text) == f"a\n-----BEGIN {kind}-----[redacted]-----END {kind}-----\nb"


@pytest.mark.parametrize(
    "text",
    [
        "export AWS_SECRET_ACCESS_KEY=$KEY",
        "export AWS_ACCESS_KEY_ID=" + "AKIA" + "IOSFODNN7EXAMPLE",
        'export IRODS_USER_PASSWORD="${PASSWORD}"',
        "PASSWORD=$(cat /var/run/dtp/secret/password)",
        "PASSWORD=`cat key`",
        "TOKEN=<your-token>",
        "API_KEY=your-key-here",
        "RCLONE_CONFIG_LAB_PASS=/var/run/dtp/secret/pass",
        "read -r PASSWORD",
        "#DTP cpu=2 secret=lab-key",
        "SECRET=",
        "TOKENS=12",
        "PASSWORD=password",
        "PASSWORD=********",
        "[ $TOKEN = finished ] || exit",
        'test "$PASS" = "unknown"',
        "secret_access_key = $AWS_SECRET_ACCESS_KEY",
        "sshpass -f key rsync -a x:y .",
        'curl -u "ada:$PASSWORD" https://example.org/x',
        "# netrc: `machine data.example.org login NAME password …`",
        "gocmd get --ticket $IRODS_TICKET /zone/x .",
        "curl -u anonymous:ada@example.org ftp://ftp.example.org/x",
        "lftp -u ada sftp://example.org/a,b",
        "curl -u ada https://example.org:8443/x",
        "rclone copy lab:bucket . --password-command 'cat key'",
        "curl https://user:$PASSWORD@example.org/",
        "curl https://user:${PASSWORD}@example.org/",
        "curl https://user:<password>@example.org/",
        "curl ftp://anonymous:me@example.org@ftp.example.org/",
        "curl https://example.org:8443/@scope/package",
        "aws s3 cp s3://bucket/key .",
        "rclone copy --checksum ':s3,provider=AWS,region=us-east-1:1000genomes' .",
        f"globus transfer {UUID}:/a {UUID}:/b",
        f"globus ls {UUID}",
        f"SOURCE_ENDPOINT={UUID}",
        f"export GLOBUS_CLI_CLIENT_ID={UUID}",
        'curl -H "Authorization: Bearer $TOKEN"',
        "sha256sum -c <<< '" + "0f" * 32 + "  genome.fa'",
        "git checkout " + "0f" * 20,
        "ssh-keygen -y -f key | grep 'PUBLIC KEY'",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert list(secrets.find(text)) == []
    assert secrets.redact(text) == text


def test_several_secrets_in_one_text_are_all_redacted() -> None:
    text = "\n".join(line for _, line in TYPED)
    redacted = secrets.redact(text)
    for part in (LETTERS[:20], UUID, "l0velace"):
        assert part not in redacted


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a",
        "://",
        "PASS",
        "eyJ",
        "-----BEGIN ",
        "globus",
        "a:/",
        "aws secret ",
        "PASS=",
        "pass=a/",
        "PASSWORD=$",
        "echo a|",
        "echo '",
        "<<E\n",
        "curl -u a:",
        "iinit -a ",
        "config token ",
        "login a password ",
        "\\\n",
    ],
)
def test_the_worst_text_is_searched_in_proportion_to_its_length(piece: str) -> None:
    assert_linear(lambda size: list(secrets.find(filled(piece, size))))


def test_a_log_is_redacted_in_proportion_to_its_length() -> None:
    line = "2030/01/02 12:00:01 INFO : data/9.gz: Copied (new) key=a size=12345 token: refreshed\n"

    def run(size: int) -> None:
        log = filled(line, 8 * size) + "PASSWORD=" + "l0velace"
        assert secrets.redact(log) == log.replace("l0" + "velace", "[redacted]")

    assert_linear(run)


LINES = st.sampled_from([line for lines in credentials.TYPED.values() for line in lines])


@given(st.lists(LINES, max_size=4), st.sampled_from(["\n", "\r\n", "; ", " ", "\n# "]))
def test_redacting_several_twice_changes_nothing_more(lines: list[str], between: str) -> None:
    once = secrets.redact(between.join(map(credentials.written, lines)))
    assert secrets.redact(once) == once


@given(st.text())
def test_redacting_any_text_twice_changes_nothing_more(text: str) -> None:
    once = secrets.redact(text)
    assert secrets.redact(once) == once
