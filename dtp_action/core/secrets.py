"""Finds credentials typed into text, by shape. Says which kind and where, never the value itself.

Used to refuse scripts before they are merged and to redact what is shown later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Rule(NamedTuple):
    """One shape; the group `value` is the secret part. All repetitions are bounded: linear time."""

    name: str
    what: str
    pattern: re.Pattern[str]
    key: str = ""  # of the Secret it belongs into, where that is known


_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _rule(name: str, what: str, pattern: str, flags: int = 0, key: str = "") -> Rule:
    return Rule(name, what, re.compile(pattern, flags | re.ASCII), key)


RULES = (
    _rule("aws-key-id", "an AWS access key", r"\b(?P<value>(?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    _rule(
        "aws-secret-key",
        "an AWS secret key",
        r"aws.{0,20}secret.{0,20}[=:\s]['\"]?(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        re.IGNORECASE,
    ),
    _rule("google-api-key", "a Google API key", r"\b(?P<value>AIza[0-9A-Za-z_-]{35})(?![\w-])"),
    _rule("google-token", "a Google token", r"\b(?P<value>(?:ya29\.|GOCSPX-)[\w-]{20,500})"),
    _rule(
        "globus-setup-key",
        "a Globus setup key",
        r"(?:(?:globus|gcp)\w{0,20}key|setup[_-]?key|\s--?setup)['\"]?"
        rf"(?:\s{{0,5}}[=:]\s{{0,5}}|\s{{1,5}})['\"]?(?P<value>{_UUID})",
        re.IGNORECASE,
        key="GLOBUS_SETUP_KEY",
    ),
    _rule(
        "private-key",
        "a private key",
        r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?P<value>[\s\S]{0,9000}?(?=-----END)|[\s\S]{0,9000})",
    ),
    _rule(
        "github-token",
        "a GitHub token",
        r"\b(?P<value>gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_\w{22,251})",
    ),
    _rule("gitlab-token", "a GitLab token", r"\b(?P<value>gl(?:pat|dt|rt|cbt|ptt)-[\w-]{20,250})"),
    _rule("slack-token", "a Slack token", r"\b(?P<value>xox[abeoprs]-[\w-]{10,250})"),
    _rule(
        "slack-webhook",
        "a Slack webhook",
        r"hooks\.slack\.com/services/(?P<value>T\w{6,20}/B\w{6,20}/\w{16,40})",
    ),
    _rule("hugging-face-token", "a Hugging Face token", r"\b(?P<value>hf_[A-Za-z0-9]{30,60})\b"),
    _rule(
        "package-token",
        "a package registry's token",
        r"\b(?P<value>npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,300}|dckr_pat_[\w-]{20,60})",
    ),
    _rule(
        "jwt",
        "a signed token",
        r"\b(?P<value>eyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10,2000})",
    ),
    _rule(
        "azure-key", "an Azure storage key", r"AccountKey=(?P<value>[A-Za-z0-9+/]{80,100}={0,2})"
    ),
    _rule(
        "signed-url",
        "a signed URL",
        r"[?&](?:X-(?:Amz|Goog)-Signature|sig)=(?P<value>[\w%/+=-]{30,1000})",
    ),
    _rule(
        "authorization",
        "a token in a request header",
        r"Authorization:\s{0,5}(?:Bearer|Basic|Token)\s{1,5}(?P<value>[\w.~+/=-]{12,2000})",
        re.IGNORECASE,
    ),
    _rule(
        "url-password",
        "a password in a URL",
        r"\b[a-z][a-z0-9+.-]{1,20}://(?!(?:anonymous|ftp|guest):)[^\s/:@'\"<>$]{1,100}:"
        r"(?P<value>[^\s/@'\"]{1,200})@",
        re.IGNORECASE,
    ),
    _rule(
        "password",
        "a password or token",
        # Not the directive `secret=name`, which only names one.
        r"\b(?!(?-i:secret=[a-z0-9]))\w{0,60}?(?:PASSWORD|PASSWD|PASS|SECRET|TOKEN|API_?KEY)"
        r"=(?P<value>'[^'\n]{6,200}'|\"[^\"\n]{6,200}\"|[^\s'\";&|)]{6,200})",
        re.IGNORECASE,
    ),
)

# Stands for a secret, or names where it is: not one. A path is no password, but may begin a key.
PLACEHOLDER = re.compile(
    r"""['"]?(?:.*(?:\$[A-Za-z_{(]|[`<{]).*|.*example.*|.*\.\.\..*|~?\.{0,2}/[\w.-]+/.*"""
    r"""|(?:your|my|insert|replace|dummy)[-_].*"""
    r"""|(?:pass(?:word|wd|phrase)?|secret|token|user(?:name)?|key|x+|\*+|0+)['"]?)""",
    re.IGNORECASE | re.DOTALL,
)


class Hit(NamedTuple):
    """One secret: which rule found it, and where the secret part begins and ends in the text."""

    rule: Rule
    start: int
    end: int


def find(text: str) -> Iterator[Hit]:
    """Yield what looks like a secret, rule by rule."""
    for rule in RULES:
        for match in rule.pattern.finditer(text):
            if rule.name == "private-key" or not PLACEHOLDER.fullmatch(match["value"]):
                yield Hit(rule, match.start("value"), match.end("value"))


def redact(text: str) -> str:
    """Return the text with every known shape of secret replaced."""
    hits = sorted(find(text), key=lambda hit: (hit.start, -hit.end))
    shown, done = [], 0
    for hit in hits:
        if hit.start >= done:
            shown += [text[done : hit.start], "[redacted]"]
        done = max(done, hit.end)
    return "".join([*shown, text[done:]])
