"""Finds credentials typed into text. Says which kind and where, never the value itself.

Used to refuse scripts before they are merged and to redact what is shown later. A credential is
found by its own shape (SHAPES), or because a value that can be one stands where one belongs:
behind a name that says so (NAMED), in the place that a tool has for it (PLACES), in a URL, on
standard input or in a file whose name says so. Time is linear: all repetitions are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


NAMED = Rule("named", "a value whose name says password, token or key")
OPTION = Rule("option", "a password or token in a command line")
URL = Rule("url-password", "a password in a URL")
INPUT = Rule("input", "a password or token on standard input")
FILE = Rule("file", "a password or token that is written to a file")

# --- credentials that are known by their own shape: group 1 ---------------------------------------

# Tokens that bear their maker's mark: GitHub, GitLab, Slack, Hugging Face, npm, PyPI, Docker,
# Stripe, Square, SendGrid, OpenAI, Mailchimp, Telegram, Discord, dCache (macaroons).
# tests/unit/test_secrets.py holds all these shapes against those of detect-secrets.
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
_SAYS_SO = re.compile(
    r".*(?:passw(?:or[dt]|d)|passphrase|passcode|secret|token|credentials?)"
    r"|(?:.*_)?(?:pass|sshpass|ticket|(?:proxy_)?authorization)|.*_(?:pwd|pw)"
    r"|.*(?:api|secret|private|auth|account|storage|app|application|client|customer|subscription"
    r"|encrypt|encryption|master|dataverse|secret_access)_?key"
)
# Where the name may mean something else, the value has to look like chance.
_MAY_SAY_SO = re.compile(
    r".*(?:pass|pwd|auth|authz|signature|cookie|jwt|bearer)|(?:.*_)?(?:key|sig|sas|pw|sid|session)"
    r"|.*(?:passw(?:or[dt]|d)|secret|token|api_?key)_.*|.*sess(?:ion)?_?id"
)
_SAYS_ELSE = re.compile(
    r"(?:no|ask|prompt|use|with|without|skip|show|print|save|require|get|new|reset|read|generate"
    r"|create|check|validate|verify)_.*"
    r"|.*(?:next|page|continuation|continue|resumption|starting|start|cursor|marker)_?token"
    r"|.*(?:public|sort|primary|foreign|partition|object|cache|idempotency|recv|host|md5|s3)_?key"
    r"|.*(?:by|com|tres|one|two|multi|single|first|second|third|high|low|band|sur|over)_?pass"
    r"|.*(?<!session)_(?:id|name|type|mode|file|path|dir|url|uri|host|md|sha|hash|checksum|fingerprint)"
)




@lru_cache(maxsize=4096)
def _says_so(name: str) -> bool | None:
    """Return whether a name is that of a credential; None where it may be."""
    words = "_".join(_WORD.findall(name)).lower().rstrip("0123456789")
    if _SAYS_ELSE.fullmatch(words):
        return False
    if _SAYS_SO.fullmatch(words):
        return True
    return None if _MAY_SAY_SO.fullmatch(words) else False


# --- values: what can be one ----------------------------------------------------------------------

_SHORTEST, _JUDGED, _CLOSE, _NEAR, _LONGEST = 6, 100, 150, 400, 4096
_QUOTED = re.compile(rf"""(\\?["'])(?![\s;,)|&])((?:(?!\1)(?:[^\n\\]|\\.)){{1,{_LONGEST}}})\1""")
_BARE = re.compile(
    rf"""(?:(?!,\w{{1,20}}=)[^\s"'`;&|<>()\\]|\\[^\nnrt"']){{1,{_JUDGED}}}"""
)
_REST = re.compile(rf"""[^\s"'`;&|<>()\\]{{0,{_LONGEST}}}""")
_SCHEME = re.compile(
    r"""(?:Bearer|Basic|Digest|Token|OAuth2?|JWT|Api-?Key|Key|Negotiate)(?:[ \t]|%20){1,5}""", re.I
)
# Stands for a value, or says where it is: a path, a file, an address.
_HOLDS_NONE = re.compile(
    r"""\$[\w{(@*]|`|\{\w*\}|\{\{|%\w+%|%[sd(]|<[^>]*>|\.\.\.|…|\*\*\*|[xX]{5}|://"""
    r"""|(?i:example|place.?holder|(?<![a-z0-9])(?:your|my|put|insert|replace|enter|dummy|change|todo"""
    r"""|fixme|ask|paste)(?:me|this|it)?(?![a-z0-9]))"""
)
_IS_NONE = re.compile(
    r"""[\[{<(@=-].*|[a-z]+=.*|~?\.{0,2}/[\w.-]*[a-z_.-]{3}[\w.-]*(?:/.*)?|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"""
    r"""|none|null|undefined|unknown|true|false|enabled?|disabled?|required|optional|missing|invalid"""
    r"""|expired|revoked|rejected|accepted|incorrect|prompt|interactive|default|anonymous|guest""",
    re.IGNORECASE | re.DOTALL,
)
_NAMES_A_FILE = re.compile(r"(?:[\w+@%-]+[./])*[\w+@%-]+\.(?:[a-z]{2,10}|7z|p12)")
_NUMBER = re.compile(r"[\d.,:_-]+")
# Words, each with a number behind it at most, as people name things: chr22, id_ed25519, us-east-1.
_WORDED = re.compile(r"(?:(?:[A-Z]?[a-z]++|[A-Z]++)?\d*+(?:[\W_]|\Z))*+")
_PLAIN = re.compile(r"[A-Za-z]?[a-z-]*[,.]?")
_TURN = re.compile(r"(?<=[a-z])(?=[A-Z\d])|(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Za-z])")


class _Value(NamedTuple):
    """A value, and where it stands; of a long one, the text is its beginning."""

    text: str
    start: int
    end: int
    quote: str = ""

    @property
    def by_chance(self) -> bool:
        """Whether it looks as if it were drawn by lot, and not as people name things."""
        return len(self.text) >= 8 and len(_TURN.findall(self.text)) >= 4

    @property
    def plain(self) -> bool:
        """Whether it is a word such as stands in any sentence."""
        return not self.quote and bool(_PLAIN.fullmatch(self.text))


def _value(text: str, at: int, quote: str = "") -> _Value | None:
    """Return the value that begins at a place: in quotes, up to the quote that is open, or a word."""
    if scheme := _SCHEME.match(text, at):
        at = scheme.end()
    if quote and (match := re.compile(rf"[^\n{quote}]{{1,{_LONGEST}}}").match(text, at)):
        return _Value(match[0][:_JUDGED], at, match.end(), quote)
    if match := _QUOTED.match(text, at):
        return _Value(match[2][:_JUDGED], match.start(2), match.end(2), match[1])
    at += text[at : at + 1] in {'"', "'"}
    match = _BARE.match(text, at)
    if not match or text[match.end() : match.end() + 1] == "(" or match[0][-1] in "[(":
        return None  # nothing, or a call in some program
    full = match.end() - at == _JUDGED and _REST.match(text, match.end())
    return _Value(match[0], at, full.end() if full else match.end())


@lru_cache(maxsize=4096)
def _can_be_one(value: str, quote: str = "") -> bool:
    """Return whether a value can be a credential, by itself."""
    plain = re.sub(r"\\.", "x", _SCHEME.sub("", value, count=1)).strip()
    if quote == "'" and not re.match(r"\$|.*(?:\$[{(]|\{\w*\}|%)", plain):
        plain = plain.replace("$", "x")  # the shell expands nothing there
    if len(plain.rstrip("}],.")) < _SHORTEST or len(set(plain)) <= 2:
        return False
    if _HOLDS_NONE.search(plain) or _IS_NONE.fullmatch(plain) or _NAMES_A_FILE.fullmatch(plain):
        return False
    if "/" in plain and _WORDED.fullmatch(plain):
        return False
    return bool(re.search(r"\d", plain)) or _says_so(plain) is not True


# --- where a value belongs ------------------------------------------------------------------------

# A name, and what may stand between it and its value.
_NAME = re.compile(
    r"""(?<![\w.-])(?:(?<=\\)[nrt])?+(?P<name>-{0,2}[A-Za-z_][\w.-]*+)"""
    r"""(?P<by>["'\]\\]{0,3}[ \t]{0,4}(?:=(?![=~])>?|<-|:[=-])[ \t]{0,4}"""
    r"""|["'\\]{0,2}[ \t]{0,4}:[ \t]{0,4}|[ \t]{1,8}|>)"""
)
_NO_COMMAND = re.compile(r"[^\S\n]*(?:#|//|(?:echo|printf)\b)")
_CONFIGURES = re.compile(r"\b(?:aws|rclone|git|pip)\b.*\sconfig")
_LINE_BEGINS = re.compile(r"[^\S\n]*(?:[-{\"'][^\S\n]*|export[^\S\n]+)*\Z")
_PUBLIC = re.compile(
    r"""(?:(?:user(?:name)?|login|-[a-z]*u)["']?[\s:=]{1,3}["']?|//)(?:anonymous|ftp|guest)(?![\w.-])""",
    re.I,
)


def _line(text: str, at: int) -> tuple[int, int]:
    """Return where the line of a place begins and ends, if that is not too far."""
    least, most = max(0, at - _NEAR), at + _NEAR
    begin, end = text.rfind("\n", least, at), text.find("\n", at, most)
    return begin + 1 or least, end if end >= 0 else most


def _named(text: str) -> Iterator[Hit]:
    """Yield the values that stand behind a name that says so."""
    for match in _NAME.finditer(text):
        name = match["name"]
        if _says_so(name) is False or not (value := _value(text, match.end())):
            continue
        if _can_be_one(value.text, value.quote) and _is_value_of(match, value):
            if not (_NUMBER.fullmatch(value.text) and not re.search("pass|pw", name, re.I)):
                yield Hit(OPTION if name[0] == "-" else NAMED, value.start, value.end)


def _is_value_of(name: re.Match[str], value: _Value) -> bool:
    """Return whether a name and a value belong together, by what stands between and around them."""
    text, by, option = name.string, name["by"], name["name"][0] == "-"
    begin, end = _line(text, name.start())
    sure = _says_so(name["name"]) and (name["name"], by) != ("secret", "=")
    before = text[begin : name.start()]
    if _PUBLIC.search(text, begin, end):
        return False
    if not sure or before.endswith("$"):
        return value.by_chance and bool(by.strip()) and not option
    if by == ">":
        return before.endswith("<")
    if by == "=":
        return True
    if option:
        return not (value.plain and _NO_COMMAND.match(text, begin))
    if not by.strip():
        return value.by_chance or not (value.plain or not _CONFIGURES.search(before))
    if by == ":" and not value.quote:
        return value.by_chance
    ends = not text[value.end : end].strip(" \t\r\"',}\\")
    return not value.plain or (ends and bool(_LINE_BEGINS.match(before)))


class _Place(NamedTuple):
    """Where a tool has a credential: what stands before it, and what the value must be at least."""

    tool: str
    before: str
    least: str = "plain"


_LOGIN = r"""(?P<quote>["']?)(?P<login>[^\s:"'$,%]{1,100})"""
_WORDS = r"(?:[^\s|;]{1,300}[ \t]{1,9})"
PLACES = (
    _Place("sshpass", r"\s-\w{0,5}p[ \t]{0,3}"),
    _Place("curl|https?|xh", rf"\s(?:-\w{{0,12}}[uUa]|--(?:proxy-)?(?:user|auth))[ \t=]{{0,3}}{_LOGIN}:"),
    _Place("skopeo|podman|buildah|oras", rf"\s--\w{{0,5}}-?creds[ \t=]{_LOGIN}:"),
    _Place("lftp|open", rf"\s(?:-u|--user)[ \t=]{{0,3}}{_LOGIN},"),
    _Place("smbclient|smbget|rpcclient", rf"\s(?:-U|--user)[ \t=]{{0,3}}{_LOGIN}%"),
    _Place("login|synapse|ncftp\w*|nextcloudcmd|owncloudcmd|seaf-cli|mongo\w*", r"\s-p[ \t]{1,3}"),
    _Place("", r"\s(?:-u|--?user(?:name)?|--?login)[ \t=]{1,3}\S{1,80}[ \t]{1,3}-[pPwW][ \t]{1,3}", "chance"),
    _Place("ascp", r"\s-W[ \t]{0,3}"),
    _Place("unzip|zip", r"\s-P[ \t]{0,3}"),
    _Place("7z\w*|unrar|rar|mysql\w*|mariadb\S*", r"\s-p(?=\S)"),
    _Place("redis-cli", r"\s-a[ \t]{1,3}"),
    _Place("swift", r"\s-K[ \t]{1,3}"),
    _Place("openssl", r"\s(?:-k[ \t]{1,3}|-pass(?:in|out)?[ \t]{1,3}[\"']?pass:)"),
    _Place("", rf"\biinit[ \t]{{1,3}}(?:-\S{{1,20}}[ \t]{{1,3}}(?:\d{{1,9}}[ \t]{{1,3}})?){{0,5}}", "mixed"),
    _Place("rclone", r"\sobscure[ \t]{1,3}", "mixed"),
    _Place("mc|mcli", rf"\s(?:alias[ \t]+set|config[ \t]+host[ \t]+add)[ \t]{{1,3}}{_WORDS}{{3}}"),
    _Place("b2", rf"\s(?:authorize-account|account[ \t]+authorize)[ \t]{{1,3}}{_WORDS}"),
    _Place("iadmin", rf"\smoduser[ \t]{{1,3}}{_WORDS}password[ \t]{{1,3}}"),
    _Place("", rf"\bmega-login[ \t]{{1,3}}{_WORDS}", "mixed"),
    _Place("", r"""(?m)(?:^|[;"'])[ \t]{0,8}user[ \t]{1,3}(?P<login>[^\s"']{1,80})[ \t]{1,3}""", "mixed"),
    _Place("", r"(?mi)(?:^[ \t]{0,8}(?:quote[ \t]+)?user[ \t]{1,3}(?P<login>\S{1,80})\s{1,9})?^[ \t]{0,8}(?:quote[ \t]+)?pass[ \t]{1,3}"),
    _Place("", r"\blogin\s{1,9}(?P<login>\S{1,100})\s{1,9}password\s{1,9}"),
    _Place("", r"\bidentified[ \t]+by[ \t]+(?=[\"'])"),
    _Place("", r"(?:auth[ \t]?=[ \t]?|(?:[Aa]uth|login))\([\"'](?P<login>[^\"'\n]{0,100})[\"'],[ \t]?(?=[\"'])"),
    _Place("", r"(?:assword|assphrase|PIN|[Tt]oken)\W[^\n]{0,40}(?:\n[^\n]{0,20}){0,2}?\bsend(?:line)?[ \t(]{1,3}(?:--[ \t])?(?=[\"'])"),
)  # fmt: skip
_PLACES = tuple(
    (re.compile(rf"(?<![\w.-])(?:{place.tool})(?![\w:.-])"), re.compile(place.before), place)
    for place in PLACES
)
_TOOLS = re.compile(rf"(?<![\w.-])(?:{'|'.join(p.tool for p in PLACES if p.tool)})(?![\w:.-])")
_URLS = (
    (r"""\b[a-z][a-z0-9+.-]{1,20}://(?P<login>[^\s/:@'"<>$]{0,100}):(?P<value>[^\s/'"<>]{1,200})@""", False),
    (r"""://(?P<login>(?P<value>[\w.~%-]{16,255}))@""", True),
    (r"""(?<![\w/@:.%-])(?P<login>[\w.%+-]{1,60}):(?P<value>[^\s/@:'"$]{6,100})@[\w-]{1,60}\.""", True),
)  # fmt: skip
_URL_SHAPES = tuple((re.compile(shape, re.I), chance) for shape, chance in _URLS)
_OTHER_COMMAND = re.compile(r"(?<!\\)\n|[;|]|&&")


def _command(text: str, at: int) -> str:
    """Return the command that a place is in, up to the place."""
    return _OTHER_COMMAND.split(text[max(0, at - _NEAR) : at])[-1]


def _places(text: str) -> Iterator[Hit]:
    """Yield what stands where a tool has a credential."""
    there = set(_TOOLS.findall(text))
    for tool, before, place in _PLACES:
        if place.tool and not any(tool.fullmatch(one) for one in there):
            continue
        for match in before.finditer(text):
            if tool.search(_command(text, match.start() + 1)) or not place.tool:
                yield from _placed(match, place)


def _placed(match: re.Match[str], place: _Place) -> Iterator[Hit]:
    groups, text = match.groupdict(), match.string
    value = _value(text, match.end(), groups.get("quote") or "")
    if not value or not _can_be_one(value.text, value.quote) or _is_public(match, groups.get("login")):
        return
    begin, _ = _line(text, match.start())
    if value.plain and (place.least != "plain" or _NO_COMMAND.match(text, begin)):
        return
    if value.by_chance or place.least != "chance":
        yield Hit(OPTION, value.start, value.end)


def _is_public(match: re.Match[str], login: str | None) -> bool:
    if login is not None:
        return login.lower() in {"anonymous", "ftp", "guest"}
    return bool(_PUBLIC.search(match.string, *_line(match.string, match.end())))


def _in_urls(text: str) -> Iterator[Hit]:
    """Yield the passwords and tokens in front of a host."""
    for shape, chance in _URL_SHAPES:
        for match in shape.finditer(text):
            value = _Value(match["value"], *match.span("value"))
            if _can_be_one(value.text, value.quote) and not _is_public(match, match["login"]):
                if value.by_chance or not chance:
                    yield Hit(URL, value.start, value.end)


# What reads a credential from its standard input; a file whose name says that it holds one.
_READS = re.compile(
    r"\s-\S{0,40}stdin\b|\s--with-token\b|-fd[ =]0\b|\b(?:iinit|kinit|passwd)\b|\bsudo[ \t](?:-\w[ \t])?-S\b"
    r"|\brclone[ \t]obscure\b|\bgocmd[ \t]init\b|\baws[ \t]configure\b"
)
_WRITES = re.compile(r""">{1,2}[ \t]{0,4}["']?(?P<file>[^\s"';&|<>]{1,200})|\btee[ \t]{1,4}(?P<tee>\S{1,200})""")
_GIVES = tuple(
    re.compile(shape)
    for shape in (
        r"\b(?:echo|printf)[ \t](?P<what>(?:[^\n|>;]|\\\n){1,600}+)(?P<by>[|>])",
        r"(?P<by><<<)[ \t]{0,4}(?P<what>[^\n|>;]{1,600})",
        r"""(?P<by><<)-?[ \t]{0,4}["']?(?P<end>\w{1,40})["']?[^\n]{0,400}\n"""
        r"(?P<what>(?:[^\n]{0,400}\n){0,20}?)[ \t]{0,8}(?P=end)\b",
    )
)
_PRINTED = re.compile(r"""(?:(?!\\[nrt])[^\s"':])+""")


def _given(text: str) -> Iterator[Hit]:
    """Yield what a script gives to a command that reads a credential, or writes to such a file."""
    for match in (match for shape in _GIVES for match in shape.finditer(text)):
        begin, end = _line(text, match.start("by"))
        command = text[max(begin, match.start("by") - _CLOSE) : min(end, match.start("by") + _CLOSE)]
        if rule := INPUT if _READS.search(command) else FILE if _writes_so(command) else None:
            yield from _printed(text, *match.span("what"), rule)


def _writes_so(line: str) -> bool:
    for match in _WRITES.finditer(line):
        name = (match["file"] or match["tee"]).rsplit("/", 1)[-1].lstrip(".").split(".")[0]
        if _says_so(name) is not False or name in {"secrets", "pgpass"}:
            return True
    return False


def _printed(text: str, start: int, end: int, rule: Rule) -> Iterator[Hit]:
    """Yield the words of a text that can be credentials: the only one, or those made by chance."""
    words = [_Value(match[0], *match.span()) for match in _PRINTED.finditer(text, start, end)]
    words = [word for word in words if not re.fullmatch(r"-\w|%\w", word.text)]
    for word in words:
        strong = word.by_chance or (len(words) == 1 and not word.plain)
        if strong and _can_be_one(word.text):
            yield Hit(rule, word.start, word.end)


# --- what is asked --------------------------------------------------------------------------------


def _shaped(text: str) -> Iterator[Hit]:
    """Yield what is known by its own shape."""
    for rule, shape in _SHAPES:
        for match in shape.finditer(text):
            if rule.name == "private-key" or "EXAMPLE" not in match[1]:
                yield Hit(rule, match.start(1), match.end(1))


def find(text: str) -> Iterator[Hit]:
    """Yield what looks like a credential, in order; what several rules find is one."""
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
