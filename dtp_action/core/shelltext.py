"""Reads a shell script as text: its commands, the blocks they stand in, and what they expand.

One pass, in linear time, over any text: what is malformed is read as well as it can be, since the
shells judge the syntax. Runs nothing, and knows no tool.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property


def names(words: str) -> frozenset[str]:
    """Return the words of a text: how this project writes a set of programs."""
    return frozenset(words.split())


BRACKETS = 20  # `$( … )` within each other; deeper commands are passed over
DEEPEST = 60  # blocks within blocks; what is nested deeper is read as if it stood less deep
LONGEST = 1024  # characters of a word that are looked at
OPENS = {"if": "if", "while": "loop", "until": "loop", "for": "loop", "select": "loop"}
OPENS |= {"case": "case", "{": "group"}
CLOSES = {"fi", "done", "esac", "}"}
GOES_ON = {"then": False, "do": False, "else": False, "elif": True}  # is what follows a condition?
# Programs that start the program named after their options.
WRAPPERS = names(
    "builtin chronic command env exec ionice nice nohup numactl parallel setsid srun stdbuf sudo "
    "taskset time timeout xargs"
)
OPTION = re.compile(r"-.*|\w+=.*|[\d.]+[smhd]?", re.DOTALL)

_TOKEN = re.compile(
    r"""
    (?P<blank>(?:[ \t]|\\\n)++)
  | (?P<newline>\n)
  | (?P<arithmetic>\$?\(\((?:[^()]++|\([^()]*+\))*+\)\))
  | (?P<substitution>\$\(|`|[<>]\()
  | (?P<redirect>(?:\d++|\{\w++\})?+(?:<<<|<<-?|<>|<&|>&|>>|>\||<|>)|&>>?)
  | (?P<function>\([ \t]*+\))
  | (?P<operator>&&|\|\||;;&|;;|;&|\|&|[;&|()])
  | (?P<single>\$'(?:[^'\\]|\\.)*+'?|'[^']*+'?)
  | (?P<double>\$?")
  | (?P<brace>\$\{)
  | (?P<parameter>\$(?:\d|\w++|[@*#?$!-]))
  | (?P<escape>\\.)
  | (?P<plain>[^\s\\'"`$;&|()<>]++|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(
    r"""(?P<close>")|(?P<substitution>\$\(|`)|(?P<brace>\$\{)|(?P<escape>\\.)
    |(?P<parameter>\$(?:\d|\w++|[@*#?$!-]))|(?P<arithmetic>\$\(\((?:[^()]++|\([^()]*+\))*+\)\))
    |(?P<plain>[^"$`\\]++|.)""",
    re.VERBOSE | re.DOTALL,
)
_BRACED = re.compile(
    r"""(?P<close>\})|(?P<single>'[^']*+'?)|(?P<double>")|(?P<substitution>\$\(|`)
    |(?P<brace>\$\{)|(?P<parameter>\$(?:\d|\w++|[@*#?$!-]))|(?P<escape>\\.)
    |(?P<plain>[^}'"$`\\]++|.)""",
    re.VERBOSE | re.DOTALL,
)
_PARAMETER = re.compile(r"\$\{?[#!]?+(?P<name>\w++|[@*#?$!-])(?P<guard>:?[-=+])?")
_IN_DOCUMENT = re.compile(r"\\.|\$\{?[#!]?+(?P<name>\w++|[@*#])(?P<guard>:?[-=+])?", re.DOTALL)
_UNQUOTE = re.compile(r"\\\n|\\(.)|[\"']", re.DOTALL)
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\[[^\]]*\])?\+?=")


@dataclass(eq=False)
class Block:
    """What commands stand in: top, group, subshell, substitution, if, loop, case, function."""

    kind: str
    parent: Block | None = None
    depth: int = 0
    before: str = ""  # the operator in front of it
    fed: bool = False  # its standard input is a pipe, a file or a here-document
    condition: bool = False  # what is read now decides whether the rest runs
    pattern: bool = False  # of case: what is read now is a pattern

    def around(self) -> Iterator[Block]:
        """Yield this block and those that it stands in."""
        block: Block | None = self
        while block:
            yield block
            block = block.parent

    def within(self, *kinds: str) -> bool:
        """Tell whether it is, or stands in, a block of one of these kinds."""
        return any(block.kind in kinds for block in self.around())


@dataclass(eq=False)
class Word:
    """One word as it is written, and without its quotes."""

    source: str = field(repr=False)
    at: int
    end: int

    @cached_property
    def raw(self) -> str:
        return self.source[self.at : min(self.end, self.at + LONGEST)]

    @cached_property
    def text(self) -> str:
        return _UNQUOTE.sub(lambda match: match[1] or "", self.raw)


@dataclass(eq=False)
class Command:
    """One simple command; or, with a `body`, what stands around a block: its operators."""

    at: int
    block: Block
    before: str = ""
    after: str = "\n"
    condition: bool = False
    words: list[Word] = field(default_factory=list)
    redirects: list[tuple[str, Word]] = field(default_factory=list)
    body: Block | None = None
    end: int = 0  # where the operator behind it stands

    @cached_property
    def assigned(self) -> list[Word]:
        """The variables that are set in front of it, or by it."""
        count = next((i for i, w in enumerate(self.words) if not _ASSIGNED.match(w.raw)), None)
        return self.words[:count]

    @cached_property
    def called(self) -> list[Word]:
        """The program's name and its arguments."""
        return self.words[len(self.assigned) :]

    @cached_property
    def name(self) -> str:
        return self.called[0].text if self.called else ""

    @cached_property
    def tool(self) -> list[Word]:
        """The same without programs that only start another (`nohup nice rclone …`)."""
        words = self.called
        while words and words[0].text in WRAPPERS:
            rest = words[1:]
            plain = [i for i, word in enumerate(rest) if not OPTION.fullmatch(word.text)]
            if not plain:
                break
            words = rest[plain[0] :]
        return words

    @cached_property
    def fed(self) -> bool:
        """Whether its standard input is a pipe, a file or a here-document."""
        own = self.before.startswith("|") and self.before != "||"
        return own or any("<" in operator for operator, _ in self.redirects)


@dataclass(frozen=True, eq=False)
class Expansion:
    """One `$NAME` or `${NAME…}`. `guarded`: it has a default, so it may be unset."""

    at: int
    name: str
    guarded: bool
    block: Block


@dataclass(eq=False)
class Reading:
    """What a script consists of, in the order of its text."""

    text: str = field(repr=False)
    commands: list[Command] = field(default_factory=list)
    expansions: list[Expansion] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def place(self, at: int) -> tuple[int, int]:
        """Return line and column, from 1, of an offset."""
        line = bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def line(self, at: int) -> str:
        """Return the whole line that an offset stands in."""
        start = self._starts[bisect_right(self._starts, at) - 1]
        stop = self.text.find("\n", start)
        return self.text[start : stop if stop >= 0 else len(self.text)]


def read(text: str) -> Reading:
    """Read a script."""
    reader = _Reader(text)
    reader.run()
    return reader.reading


@dataclass(eq=False)
class _Frame:
    """A list of commands that is being read: the script's, or that of brackets within a word."""

    closer: str
    block: Block
    blocks: list[Block] = field(default_factory=list)  # those open around `block`, in this frame
    command: Command | None = None
    word: int = -1  # where the word that is being read begins
    redirect: str = ""  # an operator whose word comes next
    before: str = ""
    function: bool = False  # the next block is a function's body


class _Reader:
    """Reads with a stack of its own: text may be nested as deep as it is long."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.reading = Reading(text)
        self.frames = [_Frame(closer="", block=Block("top"))]
        self.modes = ["command"]
        self.documents: list[tuple[str, str, Command]] = []  # here-documents still to come

    def run(self) -> None:
        patterns = {"command": _TOKEN, '"': _QUOTED, "{": _BRACED}
        while self.at < len(self.text):
            mode = self.modes[-1]
            match = patterns[mode].match(self.text, self.at)
            if not match:  # cannot be: each pattern ends in `.`
                break
            start, self.at = self.at, match.end()
            take = self._token if mode == "command" else self._inside
            take(str(match.lastgroup), match[0], start)
        while self.frames:
            self._end_command(len(self.text), "\n")
            self.frames.pop()
        self.reading.commands.sort(key=lambda command: command.at)

    # --- within quotes and braces ---

    def _inside(self, kind: str, text: str, start: int) -> None:
        if kind == "close":
            self.modes.pop()
        elif kind in ("parameter", "brace", "substitution", "double"):
            self._open(kind, text, start)

    def _open(self, kind: str, text: str, start: int) -> None:
        """Begin what may stand in a word and holds words itself."""
        if kind == "double":
            self.modes.append('"')
        elif kind == "substitution":
            self._enter(")" if "(" in text else "`", "substitution")
        else:
            match = _PARAMETER.match(self.text, start)
            if match:
                block = self.frames[-1].block
                guarded = match["guard"] is not None and kind == "brace"
                self.reading.expansions.append(Expansion(start, match["name"], guarded, block))
            if kind == "brace":
                self.modes.append("{")

    def _enter(self, closer: str, kind: str) -> None:
        self.frames.append(_Frame(closer=closer, block=self._block(kind)))
        self.modes.append("command")

    def _leave(self, end: int) -> None:
        self._end_command(end, ")")
        self.frames.pop()
        self.modes.pop()

    # --- commands ---

    def _token(self, kind: str, text: str, start: int) -> None:
        frame = self.frames[-1]
        if text == "`" and frame.closer == "`":
            self._leave(start)
        elif kind == "plain" and frame.word < 0 and text.startswith("#"):
            self.reading.comments.append(start)
            stop = self.text.find("\n", start)
            self.at = stop if stop >= 0 else len(self.text)
        elif kind in ("blank", "newline", "redirect", "function", "operator"):
            self._between(kind, text, start)
        else:
            frame.word = start if frame.word < 0 else frame.word
            if kind in ("substitution", "double", "brace", "parameter"):
                self._open(kind, text, start)

    def _between(self, kind: str, text: str, start: int) -> None:
        """Take in what stands between words."""
        frame = self.frames[-1]
        if frame.word >= 0 and self.text[start - 1] == "=" and text.startswith("("):
            if kind == "operator":  # an array's words; `()` is one without
                self._enter(")", "array")
            return
        self._end_word(start)
        if frame.command and _tests(frame.command):
            return
        if kind == "function":
            self._function()
        elif kind == "redirect":
            frame.redirect = text
            self._command(start)
        elif kind == "operator":
            self._operator(text, start)
        elif kind == "newline":
            self._end_command(start, "\n")
            self._skip_documents()

    def _operator(self, text: str, start: int) -> None:
        frame = self.frames[-1]
        if frame.block.kind == "case" and self._case(text, start):
            return
        if text == "(":
            self._end_command(start, "", keep=True)
            frame.block = self._nest("function" if frame.function else "subshell")
        elif text == ")" and frame.block.kind in ("subshell", "function") and frame.blocks:
            self._end_command(start, ")")
            self._close(start)
        elif text == ")" and frame.closer == ")":
            self._leave(start)
        else:
            self._end_command(start, text)

    def _case(self, text: str, start: int) -> bool:
        """Take in an operator of `case`: around a pattern, or at the end of its commands."""
        frame = self.frames[-1]
        if frame.block.pattern:
            frame.command, frame.before = None, ""
            frame.block.pattern = text != ")"
            return True
        if text in (";;", ";&", ";;&"):
            self._end_command(start, text)
            frame.block.pattern = True
            return True
        return False

    def _function(self) -> None:
        """Take in `()`: what is before it names a function."""
        frame = self.frames[-1]
        if frame.command and len(frame.command.words) == 1:
            self.reading.functions.add(frame.command.words[0].text)
            frame.command, frame.function = None, True

    def _command(self, start: int) -> Command:
        frame = self.frames[-1]
        if frame.command is None:
            frame.command = Command(
                at=start, block=frame.block, before=frame.before, condition=frame.block.condition
            )
            frame.before = ""
        return frame.command

    def _end_word(self, end: int) -> None:
        frame = self.frames[-1]
        if frame.word < 0:
            return
        word, frame.word = Word(self.text, frame.word, end), -1
        if frame.redirect:
            self._redirected(word)
            return
        command = frame.command
        fresh = command is None or not (command.words or command.body or command.redirects)
        if fresh and self._reserved(word):
            return
        command = self._command(word.at)
        command.words.append(word)
        self._header(command, word)

    def _redirected(self, word: Word) -> None:
        frame = self.frames[-1]
        operator, frame.redirect = frame.redirect, ""
        command = self._command(word.at)
        if operator.lstrip("0123456789") in ("<<", "<<-"):
            self.documents.append((operator, word.raw, command))
        command.redirects.append((operator, word))
        if command.body and "<" in operator:
            command.body.fed = True

    def _reserved(self, word: Word) -> bool:
        """Take in a word that the shell reserves, where it is one."""
        frame, text = self.frames[-1], word.raw
        if frame.block.kind == "array":
            return False
        if frame.block.kind == "case" and frame.block.pattern and text != "esac":
            return True
        if text in ("!", "time"):
            return True
        if text in GOES_ON:
            frame.block.condition = GOES_ON[text]
            frame.before = ""
        elif text in CLOSES:
            self._close(word.end)
        elif text in OPENS:
            kind = "function" if frame.function and text == "{" else OPENS[text]
            frame.block = self._nest(kind)
            frame.block.condition = text in ("if", "while", "until")
            return text not in ("for", "select", "case")
        else:
            return False
        return True

    def _header(self, command: Command, word: Word) -> None:
        """Look whether a command that is not over yet begins a block: `case … in`, `function`."""
        frame, first = self.frames[-1], command.words[0].raw
        if first == "case" and word.raw == "in" and len(command.words) == 3:
            self._end_command(word.end, "in")
            frame.block.pattern = True
        elif first == "function" and len(command.words) == 2:
            self.reading.functions.add(word.text)
            frame.command, frame.function = None, True

    def _end_command(self, end: int, operator: str, *, keep: bool = False) -> None:
        """Finish the command before an operator; `keep`: what follows is in its place."""
        frame = self.frames[-1]
        self._end_word(end)
        command, frame.command, frame.redirect = frame.command, None, ""
        if command and (command.words or command.body or command.redirects):
            command.after, command.end = operator, end
            if frame.block.kind != "array" and len(self.frames) <= BRACKETS:
                self.reading.commands.append(command)
        if not keep and (command or operator not in ("\n", "")):
            frame.before = operator if operator in ("|", "|&", "&&", "||") else ""

    # --- blocks ---

    def _block(self, kind: str) -> Block:
        frame = self.frames[-1]
        outer = frame.block
        while outer.depth >= DEEPEST and outer.parent:
            outer = outer.parent
        fed = frame.before in ("|", "|&")
        return Block(kind, outer, outer.depth + 1, before=frame.before, fed=fed)

    def _nest(self, kind: str) -> Block:
        frame = self.frames[-1]
        frame.blocks.append(frame.block)
        block = self._block(kind)
        frame.before, frame.function = "", False
        return block

    def _close(self, end: int) -> None:
        frame = self.frames[-1]
        if frame.blocks:
            body, frame.block = frame.block, frame.blocks.pop()
            frame.before = body.before
            self._command(end).body = body

    def _skip_documents(self) -> None:
        """Pass over the here-documents that begin behind this line."""
        for operator, word, command in self.documents:
            delimiter = _UNQUOTE.sub(lambda match: match[1] or "", word)
            tabs = r"\t*+" if operator.endswith("-") else ""
            end = re.compile(rf"^{tabs}{re.escape(delimiter)}$", re.MULTILINE)
            match = end.search(self.text, self.at)
            stop = match.start() if match else len(self.text)
            if delimiter == word:
                self._document(self.at, stop, command.block)
            self.at = min(match.end() if match else stop, len(self.text))
        self.documents.clear()

    def _document(self, start: int, stop: int, block: Block) -> None:
        for match in _IN_DOCUMENT.finditer(self.text, start, stop):
            if match["name"]:
                guarded = match["guard"] is not None and match[0].startswith("${")
                found = Expansion(match.start(), match["name"], guarded, block)
                self.reading.expansions.append(found)


def _tests(command: Command) -> bool:
    """Tell whether a command is a `[[ … ]]` that is not closed: operators are words in it."""
    words = command.words
    return bool(words) and words[0].raw == "[[" and words[-1].raw != "]]"
