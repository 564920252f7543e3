"""Which paths of a script lie where a job has nothing, or where nothing is kept.

Works on what `shelltext` read. Of tools it knows, as tables, which of their arguments are no paths
of the job's own: patterns, text, and paths on another machine.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dtp_action.core.shelltext import Command, Reading, Word, names

# What every image has at its root.
ROOTS = names("bin boot dev etc lib lib32 lib64 opt proc run sbin sys tmp usr var")
GOOD = ("/workspace/dtp-jobs/dtp-", "/home/dtp/")
PATH = re.compile(r"/(?![/*])[^\s;|&<>():]+")
# Their arguments are text, or ask whether something is there.
TEXT = names(
    "echo printf [ [[ test case expr let trap alias (( basename dirname logger cut tr date"
)
# Their first argument is a pattern or a program.
PATTERN = names("sed grep egrep fgrep rg awk gawk mawk jq yq perl xmllint")
# Which of their arguments are paths on another machine.
REMOTE = {
    "first": re.compile(r"iget|gocmd get|ndnget|ndncatchunks|xrdcp|gfal-copy|dx download"),
    "last": re.compile(r"iput|gocmd put|ndnputchunks|dx upload"),
    "all": re.compile(
        r"gocmd|ssh|sftp|lftp|ftp|smbclient|hdfs|hadoop|dx|xrdfs|globus|fdt|ascli|kubectl"
        r"|dtp-globus-.*|gfal-.*|i(?:ls|cd|pwd|mkdir|rm|mv|cp|meta|chmod|quest|trim|repl|chksum|reg)"
    ),
}
NO_PATH = re.compile(
    r"--?[\w-]*(?:clude|filter|prefix|suffix|pattern|match|header|ur[il]|format|remote|regex|xpath"
    r"|endpoint|zone|collection|key|query|rsync-path)(?:=.*)?|-H|-X|--host\b.*",
    re.DOTALL,
)
# Which directories are removed at the end, as scripts name them.
TEMPORARY = re.compile(
    r"(?P<root>\$\{?HOME\}?|\$\{?TMPDIR\}?|~|/tmp|/var/tmp|/dev/shm|/home/dtp|\$\(mktemp[^)]*\))"
    r"(?P<rest>/.*)?",
    re.DOTALL,
)
SPELLED = re.compile(
    r"(\"?)(?:\$\{?HOME\}?|\$\{?TMPDIR\}?|~|/var/tmp|/tmp|/dev/shm|/home/dtp)(\"?)/?"
)
HOMES = names("$HOME ~ /home/dtp")
WRITES = re.compile(r"-[oOPC]|--(?:out|dir|to-|dest|target|download|local)[\w-]*")
SCRATCH = re.compile(r"-[A-Za-z]|--(?:temp|tmp|cache|log|conf|key|ident|work|state|user|ca)[\w-]*")
UNPACKS = re.compile(r"-?[a-wyzA-Z]*x\w*|--extract|--get")
WRITE_D = names("aria2c unzip")  # to whom `-d` is where it goes
# They only look at a place: what is there is not used by that.
LOOKS = names(
    "ls echo printf du stat df wc sha256sum md5sum [ [[ test mkdir chmod chown rm find "
    "file touch trap rmdir"
) | {""}
# Their last argument is nothing that they write.
READERS = LOOKS | names(
    "cat tar gzip gunzip xz zstd grep sed awk ssh export source . cd pushd head tail "
    "python python3 perl bash sh diff cmp sort uniq for case set local declare readonly "
    "exec exit eval unzip vdb-validate cksum jq xargs kill umask unset"
)
IDLE = READERS - names("tar unzip sed awk sort")  # they make nothing
SUBSHELLS = names("subshell substitution")
MOST = 20  # changes of directory that are looked at
DECLARES = names("export declare local readonly typeset")
ASSIGNED = re.compile(r"([A-Za-z_]\w*)\+?=")
DEFAULT = re.compile(r"\$\{\w+:?[-=]([^}$]*)\}")
# Variables that say where a tool's programs, settings and keys are.
FOR_TOOLS = re.compile(r"PATH|CONF|RC|CACHE|KEY|CRED|PASS|CERT")
LEADING = re.compile(r"\$\{?(\w+)\}?")
HERE = re.compile(r"\$\{?PWD\b|\$\(pwd|`pwd")
KEPT = re.compile(r"DTP_DIRECTORY|OLDPWD|/workspace")
UPLOAD = re.compile(r"(?!https?:|ftp:)[\w.+-]+:.*|.*::.*", re.DOTALL)


class Use(NamedTuple):
    """One word that may name a path, with its variable put in."""

    command: Command
    word: Word
    text: str
    at: int  # of the path, in the word or where its variable is set
    writes: bool


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A place that is written to and removed at the end."""

    at: int
    text: str
    edit: tuple[int, int, str] | None = None
    cd: bool = False


class Places:
    """The places that a script's commands name."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.assigned: dict[str, tuple[str, int]] = {}  # variable: value, and where that begins
        self.uses: list[Use] = []
        self._values: dict[int, str] = {}  # where a value begins: the value
        self._of_value: dict[int, list[bool]] = {}  # and whether each use of it is the job's own
        self._for_tools: set[str] = set()  # what tools are told of by variables
        for command in reading.commands:
            self._use(command)
            self._assign(command)

    def _use(self, command: Command) -> None:
        for word, text, at, here, writes in _named(command):
            found = self._follow(text, at)
            if found[1] != at:
                self._of_value.setdefault(found[1], []).append(here)
            for match in LEADING.finditer(text):
                if match.start() and match[1] in self.assigned:  # within a longer word
                    self._of_value.setdefault(self.assigned[match[1]][1], []).append(False)
            if here:
                self.uses.append(Use(command, word, *found, writes))

    def _assign(self, command: Command) -> None:
        declared = command.called[1:] if command.name in DECLARES else []
        exported = command.name == "export" or len(command.words) > len(command.assigned)
        for word in (*command.assigned, *declared):
            if match := ASSIGNED.match(word.raw):
                at, value = word.at + match.end(), word.text[match.end() :]
                if default := DEFAULT.match(value):  # ${OUT:-/data/lab}
                    value = default[1] + value[default.end() :]
                if exported and FOR_TOOLS.search(match[1]):
                    self._for_tools.update(_key(part) for part in value.split(":"))
                self.assigned[match[1]] = self._follow(value, at)
                self._values[at] = value
                self._of_value.setdefault(at, []).extend([True] * exported)

    def _follow(self, text: str, at: int) -> tuple[str, int]:
        """Put in what a variable at the start of a text was set to."""
        match = LEADING.match(text)
        value = self.assigned.get(match[1]) if match else None
        if not (match and value):
            return text, at
        return (value[0] + text[match.end() :])[:4096], value[1]

    # --- what no job has ---

    def missing(self) -> Iterator[tuple[int, str]]:
        """Yield the absolute paths that no job has: where, and what."""
        # A variable that is only used for another machine's paths is left alone.
        own = {at for at in self._values if any(self._of_value[at] or [True])}
        found = {(use.at, self._values.get(use.at, use.text)) for use in self.uses}
        for at, text in sorted(found | {(at, self._values[at]) for at in own}):
            path = PATH.match(text)
            if path and not _there(path[0]):
                yield at, path[0]

    # --- what is not kept ---

    def lost(self) -> Iterator[Lost]:
        """Yield where something is written that is removed at the end, and never used before."""
        keys = [_key(use.text) for use in self.uses]
        written: dict[str, int] = {}
        used: dict[str, int] = {}  # by what may keep it
        for i, (key, use) in enumerate(zip(keys, self.uses, strict=True)):
            if use.writes:
                written[key] = i
            elif key and _tool(use.command) not in LOOKS:
                used[key] = used[key.split("/")[0] + "/"] = i
        for key, use in zip(keys, self.uses, strict=True):
            kept = key in self._for_tools or used.get(key, -1) > written.get(key, -1)
            if key in written and key and not kept:
                yield Lost(at=use.at, text=use.text, edit=self._edit(use))
        yield from self._left()

    def _edit(self, use: Use) -> tuple[int, int, str] | None:
        """Return what to write for a place: the same below the job's directory."""
        source = self.reading.text
        start = use.at - 1 if source[use.at - 1 : use.at] == '"' else use.at
        match = SPELLED.match(source, start)
        if not match:
            return None
        quote = match[1] if not match[2] else ""
        here = "." if re.match(r"[\s\";&|)]|$", source[match.end() : match.end() + 1]) else ""
        return match.start(), match.end(), quote + here

    def _left(self) -> Iterator[Lost]:
        """Yield where a script goes to a place that is removed, and works there."""
        commands = self.reading.commands
        gone = [i for i, one in enumerate(commands) if one.name in ("cd", "pushd")]
        if any(HERE.match(value) for value, _ in self.assigned.values()):
            return
        for i in gone[:MOST]:
            command, words = commands[i], commands[i].called[1:]
            text, at = self._follow(words[0].text, words[0].at) if words else ("~", command.at)
            if TEMPORARY.fullmatch(text) and self._works(i + 1, self._shell_ends(i)):
                yield Lost(at=words[0].at if words else at, text=text if words else "cd", cd=True)

    def _shell_ends(self, i: int) -> int:
        """Return where the shell of a command ends: a `cd` does not outlive its subshell."""
        commands = self.reading.commands
        shell = next((b for b in commands[i].block.around() if b.kind in SUBSHELLS), None)
        if not shell:
            return len(commands)
        after = range(i + 1, len(commands))
        return next((j for j in after if shell not in commands[j].block.around()), len(commands))

    def _works(self, begin: int, end: int) -> bool:
        """Tell whether these commands do something, and none brings it away."""
        keeps, does = self._deeds
        return not _any_within(keeps, begin, end) and _any_within(does, begin, end)

    @cached_property
    def _deeds(self) -> tuple[list[int], list[int]]:
        """Return which commands bring something away, and which do anything at all."""
        commands = list(enumerate(self.reading.commands))
        keeps = [i for i, one in commands if self._keeps(one)]
        does = [i for i, one in commands if one.words and (_tool(one) not in IDLE or one.redirects)]
        return keeps, does

    def _keeps(self, command: Command) -> bool:
        if any(KEPT.search(self._follow(word.text, 0)[0]) for word in command.words):
            return True
        uploads = len(command.tool) > 1 and UPLOAD.fullmatch(command.tool[-1].text)
        return bool(uploads) or command.name == "popd"


def _any_within(indices: list[int], begin: int, end: int) -> bool:
    """Tell whether one of these indices, in order, is in a range."""
    at = bisect_left(indices, begin)
    return at < len(indices) and indices[at] < end


def _tool(command: Command) -> str:
    return command.tool[0].text if command.tool else ""


def _key(text: str) -> str:
    """Return which place of those that are removed a text names; '' for another place."""
    match = TEMPORARY.fullmatch(text)
    if not match:
        return ""
    first = (match["rest"] or "").strip("/").split("/")[0]
    if first.startswith("."):  # configuration, where tools look for it
        return ""
    root = match["root"].replace("{", "").replace("}", "")
    return f"{'$HOME' if root in HOMES else root}/{first}"


def _there(path: str) -> bool:
    first = path.split("/")[1]
    return first in ROOTS or f"{path}/".startswith(GOOD) or not re.match(r"[\w.$~{-]", first)


def _named(command: Command) -> Iterator[tuple[Word, str, int, bool, bool]]:
    """Yield word, text, place, whether it is the job's own and whether it is written to."""
    for operator, word in command.redirects:
        if "<<" not in operator and "&" not in operator.lstrip("&"):
            output = ">" in operator and not operator.startswith("2")
            yield word, word.text, word.at, True, output
    words = command.tool
    if not words or command.name in DECLARES:
        return
    tool = words[0].text
    yield words[0], tool, words[0].at, True, False
    if tool in TEXT:
        return
    remote = _remote(words)
    positional = [word for word in words[1:] if not word.text.startswith("-")]
    pattern = positional[:1] if tool in PATTERN else []
    # What tar packs goes where `f` says; `-C` is then where it comes from.
    packs = tool == "tar" and not any(UNPACKS.fullmatch(word.text) for word in words[1:])
    previous = ""
    for word in words[1:]:
        text, at, here = word.text, word.at, word not in remote and word not in pattern
        option, equals, value = text.partition("=")
        name, writes = previous, bool(WRITES.fullmatch(previous))
        writes = writes or (previous == "-d" and tool in WRITE_D)
        if equals and re.fullmatch(r"-{0,2}\w[\w-]*", option):
            text, at, name = value, at + len(option) + 1, option
            here, writes = True, bool(WRITES.fullmatch(option))
        elif word is words[-1] and len(positional) > 1 and tool not in READERS:
            writes = writes or not SCRATCH.fullmatch(previous)
        if packs:
            writes = bool(re.fullmatch(r"-?\w*f|--file", name))
        yield word, text, at, here and not NO_PATH.fullmatch(name), writes
        previous = word.text


def _remote(words: list[Word]) -> list[Word]:
    """Return the arguments that are paths on another machine."""
    positional = [word for word in words[1:] if not word.text.startswith("-")]
    tool, *rest = (word.text for word in [words[0], *positional[:1]])
    for which, tools in REMOTE.items():
        found = None
        if tools.fullmatch(tool):
            found = positional
        elif rest and tools.fullmatch(f"{tool} {rest[0]}"):
            found = positional[1:]
        if found is not None:
            return {"first": found[:1], "last": found[1:][-1:], "all": words[1:]}[which]
    return []
