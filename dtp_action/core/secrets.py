"""Finds credentials typed into text, by shape. Says which kind and where, never the value itself.

Used to refuse scripts before they are merged and to redact what is shown later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Rule(NamedTuple):
    """One shape; group 1 is the secret part. All repetitions are bounded: linear time."""

    name: str
    what: str
    pattern: re.Pattern[str]


# Tokens that bear their maker's mark: GitHub, GitLab, Slack, Hugging Face, npm, PyPI, Docker,
# Stripe, Square, SendGrid, OpenAI, Mailchimp, Telegram, Discord. tests/unit/test_secrets.py holds
# all these rules against those of detect-secrets.
_MARKED = (
    r"gh[pousr]_\w{36,251}",
    r"github_pat_\w{22,251}",
    r"(?:gl(?:pat|dt|ft|soat|rt|cbt|ptt|imt|agent)-|gloas-|GR1348941)[\w-]{20,1024}",
    r"xox[abeoprs]-[\w-]{10,250}",
    r"(?<=hooks\.slack\.com/services/)T\w{6,20}/B\w{6,20}/\w{16,40}",
    r"hf_[A-Za-z0-9]{30,60}\b",
    r"npm_[A-Za-z0-9]{36}",
    r"(?<=:_authToken=)[\w-]{20,200}",
    r"pypi-[\w-]{50,300}",
    r"dckr_pat_[\w-]{20,60}",
    r"[rs]k_live_\w{24,200}",
    r"sq0csp-[\w\\-]{43}",
    r"SG\.[\w-]{22}\.[\w-]{43}",
    r"sk-[\w-]{20,200}T3BlbkFJ\w{20}",
    r"[0-9a-z]{32}-us[0-9]{1,2}\b",
    r"\d{8,10}:[\w-]{35}(?![\w-])",
    r"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27}(?![\w-])",
    r"eyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10,2000}",  # JSON Web Tokens
)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAMED = r"(?:PASSWORD|PASSWD|PASS|SECRET(?:_?ACCESS)?(?:_?KEY)?|TOKEN|API_?KEY|IRODS_TICKET)"
_SHAPES = (
    (
        "aws-key-id",
        "an AWS access key",
        r"(?<![A-Za-z0-9])((?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16})(?![A-Za-z0-9])",
    ),
    (
        "aws-secret-key",
        "an AWS secret key",
        r"(?i)aws.{0,20}(?:secret|key|pwd|pw|pass|token).{0,20}[=:\s'\"]['\"]?"
        r"([a-z0-9/+]{40})(?![a-z0-9/+=])",
    ),
    (
        "google-key",
        "a Google key or token",
        r"\b(AIza[\w-]{35}(?![\w-])|(?:ya29\.|GOCSPX-)[\w-]{20,500})",
    ),
    (
        "globus-setup-key",
        "a Globus setup key",
        r"(?i)(?:(?:globus|gcp)\w{0,20}key|setup[_-]?key|\s--?setup)['\"]?"
        rf"(?:\s{{0,5}}[=:]\s{{0,5}}|\s{{1,5}})['\"]?({_UUID})",
    ),
    (
        "private-key",
        "a private key",
        r"(?:-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|PuTTY-User-Key-File-\d)"
        r"([\s\S]{0,9000}?(?=-----END|---- END)|[\s\S]{0,9000})",
    ),
    ("token", "a token", rf"\b({'|'.join(_MARKED)})"),
    (
        "storage-key",
        "a signed URL or a storage key",
        r"(?:AccountKey|[?&](?:X-(?:Amz|Goog)-Signature|sig))=([\w%/+=-]{30,1000})",
    ),
    (
        "authorization",
        "a token in a request header",
        r"(?i)Authorization:\s{0,5}(?:Bearer|Basic|Token)\s{1,5}([\w.~+/=-]{12,2000})",
    ),
    (
        "url-password",
        "a password in a URL",
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://(?!(?:anonymous|ftp|guest):)[^\s/:@'\"<>$]{1,100}:"
        r"([^\s/@'\"]{1,200})@",
    ),
    (
        "password",
        "a password or token",
        # Not the directive `secret=name`, which only names one.
        r"(?im)(?:\b(?!(?-i:secret=[a-z0-9]))\w{0,60}?"
        rf"{_NAMED}="
        # With blanks: a line of a tool's settings, such as rclone.conf, in a here-document.
        rf"|^[ \t]{{0,8}}\w{{0,60}}?{_NAMED}[ \t]{{1,3}}=[ \t]{{1,3}}"
        # A line of netrc.
        r"|\bmachine\s{1,9}\S{1,200}\s{1,9}login\s{1,9}\S{1,100}\s{1,9}password\s{1,9})"
        r"('[^'\n]{6,200}'|\"[^\"\n]{6,200}\"|[^\s'\";&|)]{6,200})",
    ),
    (
        "option",
        "a password in a command line",
        r"(?i)(?:\s--(?:[a-z0-9]{1,20}-){0,3}"
        r"(?:pass|password|passphrase|secret|secret-key|api-key|token|ticket)[= ]"
        r"|\bsshpass\s{1,3}-p\s{0,3}"
        r"|\blftp\s(?:[^\n]{0,200}\s)?-u\s{0,3}[\"']?(?!anonymous,)[^\s,\"'$]{1,100},"
        r"|\bcurl\s(?:[^\n]{0,200}\s)?(?:-u|--user)[= ]?[\"']?"
        r"(?!(?:anonymous|ftp|guest):)[^\s:\"'$]{1,100}:)"
        r"('[^'\n]{6,200}'|\"[^\"\n]{6,200}\"|[^\s'\";&|)]{6,200})",
    ),
    (
        "mc-alias",
        "a key of an S3 store in a command line",
        r"\bmc\s(?:[^\n]{0,100}\s)?(?:alias\sset|config\shost\sadd)\s[\w-]{1,60}\s['\"]?https?://\S{1,200}"
        r"\s\S{1,200}\s('[^'\n]{6,200}'|\"[^\"\n]{6,200}\"|[^\s'\";&|)]{6,200})",
    ),
)
# What to do about one, and what about those of some rules.
REVOKE = (
    "make it invalid where it was issued, and give its successor to the cluster's admin, for the "
    "Secret dtp-{protocol}"
)
ADVICE = {
    "globus-setup-key": (
        "delete its collection at Globus, and give the key of a new one to the cluster's admin, "
        "for a Secret dtp-{protocol}-NAME, as GLOBUS_SETUP_KEY; the script of an endpoint has "
        "`#DTP kind=service secret=NAME` and calls dtp-globus-endpoint"
    ),
}
RULES = tuple(Rule(name, what, re.compile(shape, re.ASCII)) for name, what, shape in _SHAPES)

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
            if rule.name == "private-key" or not PLACEHOLDER.fullmatch(match[1]):
                yield Hit(rule, match.start(1), match.end(1))


def redact(text: str) -> str:
    """Return the text with every known shape of secret replaced."""
    hits = sorted(find(text), key=lambda hit: (hit.start, -hit.end))
    shown, done = [], 0
    for hit in hits:
        if hit.start >= done:
            shown += [text[done : hit.start], "[redacted]"]
        done = max(done, hit.end)
    return "".join([*shown, text[done:]])
