"""Finds credentials typed into text. Says which kind and where, never the value itself.

Used to reject scripts before they are merged, and to redact what is shown later. A credential has
a shape of its own (SHAPES), or it is a value that can be one, in a position where one belongs:
after a name such as `password`, in a tool's option (PLACES), in a URL, on standard input, in a file
that is named so. docs/adr/0027 says why. Repetitions are bounded, so that the time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple


class Rule(NamedTuple):
    """One family of credentials: its code, and what it is in words."""

    name: str
    what: str


class Hit(NamedTuple):
    """One credential: which rule found it, and where it begins and ends in the text."""

    rule: Rule
    start: int
    end: int


NAMED = Rule("named", "a value that is named like a password, token or key")
OPTION = Rule("option", "a password or token in a command line")
URL = Rule("url-password", "a password or token in front of a host name")
INPUT = Rule("input", "a password or token on standard input")
FILE = Rule("file", "a password or token written to a file")

# --- credentials with a shape of their own: group 1 ----------------------------------------------

# Tokens that bear their maker's mark: GitHub, GitLab, Slack, Hugging Face, npm, PyPI, Docker,
# Stripe, Square, SendGrid, OpenAI, Mailchimp, Telegram, Discord, dCache (macaroons).
# tests/unit/test_secrets.py compares all these shapes with those of detect-secrets.
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
    r"MDA[\w-]{60,2000}",
    r"eyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{0,2000}",  # JSON Web Tokens
)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SHAPES = (
    (
        Rule("aws-key-id", "an AWS access key"),
        r"(?<![A-Za-z0-9])((?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16})(?![A-Za-z0-9])",
    ),
    (
        Rule("aws-secret-key", "an AWS secret key"),
        r"(?i)aws.{0,20}(?:secret|key|pwd|pw|pass|token).{0,20}[=:\s'\"]['\"]?"
        r"([a-z0-9/+]{40})(?![a-z0-9/+=])",
    ),
    (
        Rule("google-key", "a Google key or token"),
        r"\b(AIza[\w-]{35}(?![\w-])|(?:ya29\.|GOCSPX-)[\w-]{20,500})",
    ),
    (
        Rule("globus-setup-key", "a Globus setup key"),
        r"(?i)(?:(?:globus|gcp)\w{0,20}key|setup[_-]?key|\s--?setup)['\"]?"
        rf"(?:\s{{0,5}}[=:]\s{{0,5}}|\s{{1,5}})['\"]?({_UUID})",
    ),
    (
        Rule("private-key", "a private key"),
        r"(?:-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|PuTTY-User-Key-File-\d)"
        r"([\s\S]{0,9000}?(?=-----END|---- END)|[\s\S]{0,9000})",
    ),
    (Rule("storage-key", "an Azure storage key"), r"\bAccountKey=([\w+/=-]{40,120})"),
    (Rule("token", "a token"), rf"\b({'|'.join(_MARKED)})"),
)
_SHAPES = tuple((rule, re.compile(shape, re.ASCII)) for rule, shape in SHAPES)
RULES = (*(rule for rule, _ in SHAPES), NAMED, OPTION, URL, INPUT, FILE)
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

# --- names: the last words decide -----------------------------------------------------------------

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*")
_CREDENTIAL = re.compile(
    r".*(?:passw(?:or[dt]|d)|passphrase|passcode|secret|token|credentials?)"
    r"|(?:.*_)?(?:pass|sshpass|ticket|bearer|authorization)|.*_(?:pwd|pw)"
    r"|.*(?:api|secret|private|auth|account|storage|app|application|client|customer|subscription"
    r"|encrypt|encryption|master|dataverse|secret_access)_?key"
)
# These may be something else: only a value that looks random counts.
_PERHAPS = re.compile(
    r".*(?:pass|pwd|pw|auth|authz|signature|cookie|jwt|bearer)|(?:.*_)?(?:key|sig|sas|sid|session)"
    r"|.*(?:passw(?:or[dt]|d)|secret|token|api_?key)_.*|.*sess(?:ion)?_?id"
)
_NO_CREDENTIAL = re.compile(
    r"(?:no|ask|prompt|use|with|without|skip|show|print|save|require|get|new|reset|read|generate"
    r"|create|check|validate|verify)_.*"
    r"|.*(?:next|page|continuation|continue|resumption|starting|start|cursor|marker)_?token"
    r"|.*(?:public|sort|primary|foreign|partition|object|cache|idempotency|recv|host|md5|s3)_?key"
    r"|.*(?:by|com|tres|one|two|multi|single|first|second|third|high|low|band|sur|over)_?pass"
    r"|.*_(?:name|type|mode|file|path|dir|url|uri|host|md|sha|hash|checksum|fingerprint)"
    r"|.*(?<!session)_id"
)


@lru_cache(maxsize=4096)
def _is_credential(name: str) -> bool | None:
    """Return whether a name is that of a credential; None for perhaps."""
    words = "_".join(_WORD.findall(name)).lower().rstrip("0123456789")
    if _NO_CREDENTIAL.fullmatch(words):
        return False
    if _CREDENTIAL.fullmatch(words):
        return True
    return None if _PERHAPS.fullmatch(words) else False


# --- values: what can be a credential -------------------------------------------------------------

_SHORTEST, _JUDGED, _CLOSE, _NEAR, _LONGEST = 6, 100, 150, 400, 4096
_QUOTED = re.compile(rf"""(\\?["'])(?![\s;,)|&])((?:(?!\1)(?:[^\n\\]|\\.)){{1,{_LONGEST}}})\1""")
_BARE = re.compile(rf"""(?:(?!,\w{{1,20}}=)[^\s"'`;&|<>()\\]|\\[^\nnrt"']){{1,{_JUDGED}}}""")
_REST = re.compile(rf"""[^\s"'`]{{0,{_LONGEST}}}""")
_SCHEME = re.compile(
    r"(?i:Bearer|Basic|Digest|Token|OAuth2?|JWT|Negotiate|\w{0,9}-?Key)(?:[ \t]|%20){1,5}"
)
_ANY_SCHEME = re.compile(r"[A-Za-z-]{2,20}[ \t]{1,5}(?=\S)")
_PLACEHOLDER = re.compile(
    r"\$[\w{(@*]|`|\{\w*\}|\{\{|%[sd(]|[a-z]\[|<[^>]*>|\.\.\.|…|\*\*\*|[xX]{5}|://"
    r"|(?i:example|place.?holder|change.?(?:me|this|it)(?![a-z])"
    r"|(?<![a-z0-9])(?:your|insert|replace|enter|dummy|todo|fixme|paste)(?![a-z0-9]))"
)
_NO_VALUE = re.compile(
    r"[\[{<(@=-].*|[a-z]+(?:=.*|:)|%\w+%|![a-z]+|(?-i:[A-Z]{2,10}-\d+)|id_[a-z]+\d*|(\W?\w)(?:\W?\1)*"
    r"|~?\.{0,2}/[\w.-]*[a-z_.-]{3}[\w.-]*(?:/.*)?|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"  # a path, e-mail
    r"|none|null|undefined|unknown|true|false|enabled?|disabled?|required|optional|missing|invalid"
    r"|expired|revoked|rejected|accepted|incorrect|renewed|refreshed|hidden|prompt|interactive"
    r"|default|anonymous|guest",
    re.IGNORECASE | re.DOTALL,
)
_FILE_NAME = re.compile(r"(?:[\w+@%-]+[./])*[\w+@%-]+\.(?:[a-z]{2,10}|7z|p12)")
_NUMBER = re.compile(r"[\d.,:_-]{1,24}")
# Words with a number at the end at most, as people name things: chr22, id_ed25519, us-east-1.
_GIVEN_NAME = re.compile(r"(?:(?:[A-Z]?[a-z]++|[A-Z]++)?\d*+(?:[\W_]|\Z))*+")
_PLAIN = re.compile(r"[A-Za-z]?[a-z-]*[,.]?")
_TURN = re.compile(r"(?<=[a-z])(?=[A-Z\d])|(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Za-z])")


class _Value(NamedTuple):
    """A value and its position. The text of a long one is only its beginning."""

    text: str
    start: int
    end: int
    quote: str = ""

    @property
    def random(self) -> bool:
        """Whether it looks random, unlike names that people give."""
        return len(self.text) >= 8 and len(_TURN.findall(self.text)) >= 4

    @property
    def plain(self) -> bool:
        """Whether it is a word that any sentence may have."""
        return not self.quote and bool(_PLAIN.fullmatch(self.text))

    def hit(self, rule: Rule, text: str) -> Hit:
        """Return the hit. A word may go on where a shell, but no configuration file, ends it."""
        rest = None if self.quote else _REST.match(text, self.end)
        return Hit(rule, self.start, rest.end() if rest else self.end)


def _value(text: str, at: int, quote: str = "") -> _Value | None:
    """Return the value at a position: in quotes, up to a quote that is open, or a word."""
    if scheme := _SCHEME.match(text, at):
        at = scheme.end()
    if quote and (match := re.compile(rf"[^\n{quote}]{{1,{_LONGEST}}}").match(text, at)):
        return _Value(match[0][:_JUDGED], at, match.end(), quote)
    at += text.startswith("$'", at)
    if match := _QUOTED.match(text, at):
        return _Value(match[2][:_JUDGED], match.start(2), match.end(2), match[1])
    at += text[at : at + 1] in {'"', "'"}
    match = _BARE.match(text, at)
    if not match or text[match.end() : match.end() + 1] == "(" or match[0][-1] in "[(":
        return None  # nothing, or a function call
    return _Value(match[0], at, match.end())


@lru_cache(maxsize=4096)
def _is_possible(value: str, quote: str = "") -> bool:
    """Return whether a value can be a credential: no placeholder, variable, path or file name."""
    plain = re.sub(r"\\.", "x", _SCHEME.sub("", value, count=1)).strip()
    if quote == "'" and not re.match(r"\$|.*(?:\$[{(]|\{\w*\}|%)", plain):
        plain = plain.replace("$", "x")  # the shell expands nothing in single quotes
    if len(plain.rstrip("}],.")) < _SHORTEST:
        return False
    if _PLACEHOLDER.search(plain) or _NO_VALUE.fullmatch(plain) or _FILE_NAME.fullmatch(plain):
        return False
    if "/" in plain and _GIVEN_NAME.fullmatch(plain):
        return False
    return bool(re.search(r"\d", plain)) or _is_credential(plain) is False


# --- a value after its name -----------------------------------------------------------------------

# A name of an option, variable, header or field, and what may be between it and its value.
_NAME = re.compile(
    r"""(?<![\w.-])(?:(?<=\\)[nrt])?+(?P<name>-{0,2}[A-Za-z_][\w.-]*+)"""
    r"""(?P<by>["'\]\\]{0,3}[ \t]{0,4}(?:=(?![=~])>?|<-|:[=-])[ \t]{0,4}"""
    r"""|["'\\]{0,2}[ \t]{0,4}:[ \t]{0,4}|[ \t]{1,8}(?:is[ \t]{1,8})?|>)"""
)
_NO_COMMAND = re.compile(r"[^\S\n]*(?:#|//|(?:echo|printf)\b)")
_CONFIGURES = re.compile(r"\b(?:aws|rclone|git|pip)\b.*\sconfig|\bset(?:env)?[ \t]+\Z")
_BARE_FIELD = re.compile(r""":|["'\\]{1,3}[ \t]*:[ \t]*""")  # a remote of rclone, or code
_LINE_BEGINS = re.compile(r"[^\S\n]*(?:[-{\"'][^\S\n]*|export[^\S\n]+)*\Z")
_PUBLIC = re.compile(
    r"""(?i)(?:(?:user(?:name)?|login|-[a-z]*u)["']?[\s:=]{1,3}["']?|//)"""
    r"(?:anonymous|ftp|guest)(?![\w.-])"
)


def _line(text: str, at: int, near: int = _NEAR) -> tuple[int, int]:
    """Return where the line of a position begins and ends, as far as that is near."""
    least, most = max(0, at - near), at + near
    begin, end = text.rfind("\n", least, at), text.find("\n", at, most)
    return begin + 1 or least, end if end >= 0 else most


def _named(text: str) -> Iterator[Hit]:
    """Yield the values after a name that says what they are."""
    for match in _NAME.finditer(text):
        name = match["name"]
        if _is_credential(name) is False:
            continue
        scheme = name.lower().endswith("authorization") and _ANY_SCHEME.match(text, match.end())
        value = _value(text, scheme.end() if scheme else match.end())
        if not value:
            continue
        if _is_possible(value.text, value.quote) and _belongs(value, match):
            yield value.hit(OPTION if name[0] == "-" else NAMED, text)


def _belongs(value: _Value, match: re.Match[str]) -> bool:
    """Return whether a value belongs to a name, by what is between and around them."""
    text, name, by = match.string, match["name"], match["by"]
    begin, end = _line(text, match.start())
    before, option = text[begin : match.start("name")], name[0] == "-"
    if _PUBLIC.search(text, begin, end):
        return False
    if _NUMBER.fullmatch(value.text) and not re.search("passw|phrase|pwd", name, re.IGNORECASE):
        return False
    joined = bool(by.strip(" \tis") or _CONFIGURES.search(before))
    if not _is_credential(name) or before.endswith("$") or (name, by) == ("secret", "="):
        return value.random and joined and not option
    if by in {"=", ">"}:
        return by == "=" or before.endswith("<")
    if option:
        return not (value.plain and _NO_COMMAND.match(text, begin))
    if not joined or (_BARE_FIELD.fullmatch(by) and not value.quote):
        return value.random and (joined or name != "pass")  # pass is a program, too
    ends = not text[value.end : end].strip(" \t\r\"',}\\")
    return not value.plain or (ends and bool(_LINE_BEGINS.match(before)))


# --- a value where a tool takes one ---------------------------------------------------------------


class _Place(NamedTuple):
    """A tool, what is in front of its credential, and values that do not count: plain, given.

    In `before`, a blank is one or more, `~` is blanks, `=` or nothing; LOGIN is a user's name that
    may be in the same quotes as the credential, WORD is any word.
    """

    tool: str
    before: str
    but: str = ""


PLACES = (
    _Place("sshpass", r"\s-\w{0,5}p~"),
    _Place("curl|https?|xh", r"\s(?:-\w{0,12}[uUa]|--(?:proxy-)?(?:user|auth))~LOGIN:"),
    _Place("skopeo|podman|buildah|oras", r"\s--\w{0,5}-?creds~LOGIN:"),
    _Place("lftp|open", r"\s(?:-u|--user)~LOGIN,"),
    _Place("smbclient|smbget|rpcclient", r"\s(?:-U|--user)~LOGIN%"),
    _Place(r"login|synapse|ncftp\w*|(?:next|own)cloudcmd|seaf-cli|mongo\w*", r"\s-p "),
    _Place("", r"\s(?:-u|--?user(?:name)?|--?login)[ =]\S{1,80} -[pPwW] ", "given"),
    _Place("ascp", r"\s-W~"),
    _Place("unzip|zip", r"\s-P~"),
    _Place(r"7z\w*|unrar|rar|mysql\w*|mariadb\S*", r"\s-p(?=\S)"),
    _Place("redis-cli", r"\s-a "),
    _Place("swift", r"\s-K "),
    _Place("openssl", r"\s(?:-k |-pass(?:in|out)? [\"']?pass:)"),
    _Place("", r"\biinit (?:-\S{1,20} (?:\d{1,9} )?){0,5}", "plain"),
    _Place("rclone", r"\sobscure ", "plain"),
    _Place("mc|mcli", r"\s(?:alias set|config host add) WORD WORD WORD "),
    _Place("b2", r"\s(?:authorize[-_]account|account authorize) WORD "),
    _Place("iget|iput|gocmd", r"\s-[tT] ", "given"),
    _Place("iadmin", r"\smoduser WORD password "),
    _Place("smbclient", r"//[^\s\"']{1,200}[\"']? (?!-)", "plain"),
    _Place("", r"\bmega-login WORD ", "plain"),
    # What ftp, lftp, netrc, SQL, Python and expect call it.
    _Place("", r"(?:^|[;\"'>]|\\n|synapse)(?:| )(?:user|login) [\"']?USER[\"']? ", "plain"),
    _Place("", r"(?:^(?:| )(?:quote )?(?i:user) USER\s{1,9})?^(?:| )(?:quote (?i:pass)|PASS) "),
    _Place("", r"\blogin\s{1,9}USER\s{1,9}password\s{1,9}"),
    _Place("", r"(?i)\bidentified by (?=[\"'])"),
    _Place("", r"(?:[Aa]uth|login|auth(?:| )=(?:| ))\([\"']USER[\"'],(?:| )(?=[\"'])"),
    _Place(
        "",
        r"(?:assword|assphrase|PIN|[Tt]oken)\W[^\n]{0,40}(?:\n[^\n]{0,20}){0,2}?"
        r"\bsend(?:line)?[ (](?:-- )?(?=\\?[\"'])",
    ),
)
_SPELT = {
    " ": r"[ \t]{1,9}",
    "[ =]": r"(?:=|[ \t]{1,9})",
    "[ (]": r"(?:\(|[ \t]{1,9})",
    "~": r"[ \t=]{0,9}",
    "LOGIN": r"""(?P<quote>["']?)(?P<login>[^\s:"'$,%]{1,100})""",
    "USER": r"""(?P<login>[^\s"']{1,100})""",
    "WORD": r"[^\s|;]{1,300}",
}
_SPELLING = re.compile(r"\[ [=(]\]|LOGIN|USER|WORD|[ ~]")


_TOOLS = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(filter(None, (p.tool for p in PLACES)))})(?![\w:.-])"
)
_PLACES = tuple(
    (place, re.compile(_SPELLING.sub(lambda piece: _SPELT[piece[0]], place.before), re.MULTILINE))
    for place in PLACES
)
_OTHER_COMMAND = re.compile(r"(?<!\\)\n|[;|]|&&")


def _places(text: str) -> Iterator[Hit]:
    """Yield what is in the place that a tool has for a credential."""
    tools = set(_TOOLS.findall(text))
    for place, before in _PLACES:
        for match in before.finditer(text) if _calls(place, tools) else ():
            near = text[max(0, match.start() - _NEAR) : match.start() + 1]
            command = _OTHER_COMMAND.split(_QUOTED.sub("", near))[-1]
            if _calls(place, _TOOLS.findall(command)):
                yield from _placed(match, place)


def _calls(place: _Place, tools: Iterable[str]) -> bool:
    return not place.tool or any(re.fullmatch(place.tool, tool) for tool in tools)


def _placed(match: re.Match[str], place: _Place) -> Iterator[Hit]:
    groups, text = match.groupdict(), match.string
    value = _value(text, match.end(), groups.get("quote") or "")
    if not value or not _is_possible(value.text, value.quote) or _is_public(match):
        return
    comment = _NO_COMMAND.match(text, _line(text, match.start())[0])
    if not (value.plain and (place.but or comment)) and (value.random or place.but != "given"):
        yield value.hit(OPTION, text)


def _is_public(match: re.Match[str]) -> bool:
    """Return whether the login is one that anybody may use."""
    if login := match.groupdict().get("login"):
        return login.lower() in {"anonymous", "ftp", "guest"}
    return bool(_PUBLIC.search(match.string, *_line(match.string, match.end())))


# --- a value in a URL, on standard input, in a file -----------------------------------------------

_URLS = (
    r"""\b[a-z][a-z0-9+.-]{1,20}://(?P<login>[^\s/:@'"<>$]{0,100}):(?P<value>[^\s/'"<>]{1,200})@""",
    r"://(?P<login>(?P<random>[\w.~%-]{16,255}))@",
    r"""(?<![\w/@:.%-])(?P<login>[\w.%+-]{1,60}):(?P<random>[^\s/@:'"$]{6,100})@[\w-]{1,60}\.""",
)
_URL_SHAPES = tuple(re.compile(shape, re.IGNORECASE) for shape in _URLS)


def _in_urls(text: str) -> Iterator[Hit]:
    """Yield the passwords and tokens in front of a host name."""
    for match in (match for shape in _URL_SHAPES for match in shape.finditer(text)):
        group = "random" if "random" in match.groupdict() else "value"
        value = _Value(match[group], *match.span(group))
        if group == "random" and not value.random:
            continue
        if _is_possible(value.text) and not _is_public(match):
            yield Hit(URL, value.start, value.end)


_READS = re.compile(
    r"\s-\S{0,40}stdin\b|\s--with-token\b|-fd[ =]0\b|\bsudo[ \t](?:-\w[ \t])?-S\b"
    r"|\b(?:i(?:init|ls|get|put|rsync)|kinit|passwd|myproxy-\w+|login)\b"
    r"|\b(?:rclone[ \t]obscure|gocmd[ \t]init|aws[ \t]configure)\b"
)
_WRITES = re.compile(r"""(?:>{1,2}[ \t]{0,4}|\btee[ \t]{1,4})["']?(?P<file>[^\s"';&|<>]{1,200})""")
# What is printed, a here-string and a here-document, and what leads it to a command.
_GIVES = tuple(
    re.compile(shape)
    for shape in (
        r"\b(?:echo|printf)[ \t](?P<what>(?:'[^']{0,400}'|\"[^\"]{0,400}\"|\\\n|[^\n|>;]){1,400}+)"
        r"(?P<by>[|>])",
        r"(?P<by><<<)[ \t]{0,4}(?P<what>[^\n|>;]{1,600})",
        r"""(?P<by><<)-?[ \t]{0,4}["']?(?P<end>\w{1,40})["']?[^\n]{0,400}\n"""
        r"(?P<what>(?:[^\n]{0,400}\n){0,20}?)[ \t]{0,8}(?P=end)\b",
    )
)
_FORMAT = re.compile(r"-\w|%\w")
_GIVEN = re.compile(r"""(?:(?!\\[nrt])[^\s"':])+""")


def _given(text: str) -> Iterator[Hit]:
    """Yield what goes to a command that reads a credential, or to a file that is named like one."""
    for match in (match for shape in _GIVES for match in shape.finditer(text)):
        begin, end = _line(text, match.start("by"), _CLOSE)
        command = text[begin:end]
        rule = INPUT if _READS.search(command) else FILE
        if rule is FILE and not any(map(_keeps_one, _WRITES.finditer(command))):
            continue
        found = _GIVEN.finditer(text, *match.span("what"))
        words = [_Value(one[0], *one.span()) for one in found if not _FORMAT.fullmatch(one[0])]
        for word in words:
            alone = len(words) == 1 and not word.plain
            if (word.random or alone) and _is_possible(word.text):
                yield Hit(rule, word.start, word.end)


def _keeps_one(match: re.Match[str]) -> bool:
    parts = match["file"].rsplit("/", 1)[-1].split(".")
    return any(_is_credential(part) is not False or part == "secrets" for part in parts)


# --- all of them ----------------------------------------------------------------------------------


def _shaped(text: str) -> Iterator[Hit]:
    """Yield what has a shape of its own."""
    for rule, shape in _SHAPES:
        for match in shape.finditer(text):
            if rule.name == "private-key" or "EXAMPLE" not in match[1]:
                yield Hit(rule, match.start(1), match.end(1))


def find(text: str) -> Iterator[Hit]:
    """Yield what looks like a credential, in order. What several rules find is one hit."""
    hits = [hit for look in (_shaped, _named, _places, _in_urls, _given) for hit in look(text)]
    hits.sort(key=lambda hit: (hit.start, RULES.index(hit.rule)))
    last: Hit | None = None
    for hit in hits:
        if last and hit.start < last.end:
            last = last._replace(end=max(last.end, hit.end))
            continue
        if last:
            yield last
        last = hit
    if last:
        yield last


def redact(text: str) -> str:
    """Return the text with every credential that is found replaced."""
    shown, done = [], 0
    for hit in find(text):
        shown += [text[done : hit.start], "[redacted]"]
        done = hit.end
    return "".join([*shown, text[done:]])
