"""What is remarked on in a script's text before it is merged: one table of rules.

Each rule has an example that it fires on and one that it leaves alone; tests hold it to both, and
the reference page is made from the table. What ShellCheck knows is in its own table (`lint`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, zip_longest
from typing import NamedTuple

from dtp_action.core import directives, places, schedulers, shelltext
from dtp_action.core.model import Finding, Severity
from dtp_action.core.shelltext import Command, Reading, Word, names

SHELLS = ("sh", "bash")  # the runner brings both to every image
MOST = directives.MOST


class Edit(NamedTuple):
    """What is to stand in a line instead."""

    start: int
    end: int
    text: str


class Remark(NamedTuple):
    """One remark of a rule. `fix` is a whole line; all edits of a line are made at once."""

    at: int
    message: str
    edit: Edit | None = None
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A script, and what its protocol's row says."""

    text: str
    protocol: str = "x"
    interpreters: tuple[str, ...] = ()  # beside sh and bash
    tools: tuple[str, ...] = ()  # of its own row
    elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)  # tool: other protocols

    @cached_property
    def first(self) -> str:
        return self.text.split("\n", 1)[0].rstrip()

    @property
    def transfers(self) -> set[str]:
        """The tools that move data; ssh mostly is a way there."""
        return {*self.tools, *self.elsewhere} - {"ssh"}

    @cached_property
    def shell(self) -> str:
        """The shell that runs it; '' for another interpreter."""
        found = interpreter(self.first) if self.first.startswith("#!") else ("sh", [])
        return found[0] if found and found[0] in SHELLS else ""

    @cached_property
    def reading(self) -> Reading:
        """Its commands; none of a script in another language."""
        return shelltext.read(self.text if self.shell else "")

    @cached_property
    def places(self) -> places.Places:
        return places.Places(self.reading)

    @cached_property
    def options(self) -> dict[str, int]:
        """From where on an option of the shell is set: {"errexit": 12, "pipefail": 12}."""
        found = interpreter(self.first)
        set_ = [(0, found[1])] if found and self.first.startswith("#!") else []
        set_ += [(one.at, _texts(one)[1:]) for one in self.reading.commands if one.name == "set"]
        return {name: at for at, words in reversed(set_) for name in _options(words)}

    @cached_property
    def sets_arguments(self) -> int:
        """From where on `$1` is set by the script itself."""
        for command in self.reading.commands:
            words = [word.text for word in command.called[1:]]
            if command.name == "set" and any(w == "--" or w[:1] not in "-+" for w in words):
                return command.at
        return len(self.text)

    def sets(self, name: str) -> bool:
        """Tell whether the script sets a variable."""
        return name in self.places.assigned


def _options(words: list[str]) -> Iterator[str]:
    previous = ""
    for word in words:
        if re.fullmatch(r"-\w*o", previous):
            yield word
        if re.fullmatch(r"-\w*e\w*", word):
            yield "errexit"
        previous = word


Find = Callable[[Subject], Iterator[Remark]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of remark. The examples are scripts without their first line."""

    code: str
    about: str
    find: Find
    fires: str
    silent: str
    severity: Severity = Severity.WARNING
    first_line: str = "#!/bin/bash"
    tools: tuple[str, ...] = ()  # of the row that the examples stand in
    elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def example(self, script: str) -> Subject:
        """Return one of its examples as a script."""
        head = f"{self.first_line}\n" if self.first_line else ""
        return Subject(text=f"{head}{script}\n", tools=self.tools, elsewhere=self.elsewhere)


def findings(subject: Subject, path: str) -> Iterator[Finding]:
    """Yield what the rules remark on, each thing once with the lines that it stands in."""
    for rule in RULES:
        yield from islice(_told(rule, subject, path), MOST)


def _told(rule: Rule, subject: Subject, path: str) -> Iterator[Finding]:
    reading = subject.reading
    remarks = list(islice(rule.find(subject), 10 * MOST))
    edits: dict[int, set[Edit]] = {}
    for remark in remarks:
        if remark.edit:
            edits.setdefault(reading.place(remark.at)[0], set()).add(remark.edit)
    alike: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for remark in remarks:
        line, column = reading.place(remark.at)
        fix = remark.fix or (_edited(reading, remark.at, edits[line]) if remark.edit else "")
        alike.setdefault((remark.message, fix), []).append((line, column))
    for (message, fix), at in alike.items():
        line, column = at[0]
        more = list(dict.fromkeys(f"{other}" for other, _ in at[1:] if other != line))
        also = f" (also line{'s' * (len(more) > 1)} {', '.join(more[:MOST])})" if more else ""
        yield Finding(
            path=path, line=line, column=column, code=rule.code, severity=rule.severity,
            message=message + also, fix=fix,
        )  # fmt: skip


def _edited(reading: Reading, at: int, edits: set[Edit]) -> str:
    """Return the line with all edits made; '' of a long one, or where one reaches beyond it."""
    line, column = reading.line(at), reading.place(at)[1]
    start = at - column + 1
    if len(line) > directives.LONGEST or any(
        not start <= one.start <= one.end <= start + len(line) for one in edits
    ):
        return ""
    for one in sorted(edits, reverse=True):
        line = line[: one.start - start] + one.text + line[one.end - start :]
    return line.rstrip()


# --- the first line ------------------------------------------------------------------------------

_OPTION = re.compile(
    r"[-+][abefhiklmpruvxBCEHPT]*([oO]?)|--(?:login|posix|norc|noprofile|verbose)?"
)
_NAMED = names(
    "allexport braceexpand errexit errtrace functrace hashall keyword monitor noclobber noglob "
    "notify nounset physical pipefail posix privileged verbose xtrace"
)
_FAMILY = {"dash": "sh", "ash": "sh"}  # shells whose scripts sh runs


def interpreter(first: str) -> tuple[str, list[str]] | None:
    """Return the program that a first line names, and its options, as the runner reads them.

    None where it names none, or has options with which the shell would not run the script.
    """
    words = first.removeprefix("#!").split()
    if words and words[0].endswith("/env"):
        del words[: 2 if words[1:2] == ["-S"] else 1]
    program = words[0].rsplit("/", 1)[-1] if words else "sh"
    if not re.fullmatch(r"[\w.+-]+", program) or program.startswith("-"):
        return None
    return (program, words[1:]) if program not in SHELLS or _runs(words[1:]) else None


def _runs(options: list[str]) -> bool:
    """Tell whether a shell with these options runs the script that follows them."""
    short = [i for i, word in enumerate(options) if not word.startswith("--")]
    if any(word.startswith("--") for word in options[min(short, default=0) :] if short):
        return False  # bash reads long options before all others
    rest = iter(options)
    for word in rest:
        match = _OPTION.fullmatch(word)
        if not match:
            return False
        if match[1] and not (match[1] == "O" or next(rest, "") in _NAMED):
            return False
        if match[1] == "O" and not re.fullmatch(r"[a-z_]+", next(rest, "")):
            return False
    return True


def _no_shebang(subject: Subject) -> Iterator[Remark]:
    if subject.first.startswith("#!"):
        return
    head = subject.text[: shelltext.LONGEST].split("\n")
    meant = next((line.strip() for line in head if line.lstrip().startswith("#!/")), "")
    program = interpreter(meant or "#!/bin/sh")
    allowed = program and program[0] in (*SHELLS, *subject.interpreters)
    fix = (meant or "#!/bin/sh") if allowed else ""
    message = "there is no shebang, so sh runs the script: begin it with one"
    if meant:
        message = "the shebang does not begin the first line, so sh runs the script: move it there"
    yield Remark(0, message, fix=fix)


def _shebang(subject: Subject) -> Iterator[Remark]:
    first, allowed = subject.first, (*SHELLS, *subject.interpreters)
    found = interpreter(first) if first.startswith("#!") else ("sh", [])
    if found and found[0] in allowed:
        return
    message = f"`{first[:80]}` cannot be used: "
    words = [re.split(r"[/\\]", word)[-1] for word in first.removeprefix("#!").split()]
    shell = next((_FAMILY.get(word, word) for word in words if word in {*SHELLS, *_FAMILY}), "")
    options = [word for word in words[1:] if word not in {*SHELLS, *_FAMILY}]
    if shell or not words:
        message += f"it may name {', '.join(allowed)}, and options of theirs"
        fix = "" if options else f"#!/bin/{shell or 'sh'}"
        if found and _runs(found[1]):
            fix = " ".join((f"#!/bin/{shell}", *found[1]))
        yield Remark(0, message, fix=fix)
        return
    program = words[-1][:40] if found is None else found[0]
    message += f"dtp-{subject.protocol} runs scripts with {', '.join(allowed)}. Write one that "
    message += f"calls `{program}`, if the image has it"
    yield Remark(0, message)


# --- what people bring from a cluster ------------------------------------------------------------


def _comments(subject: Subject) -> list[tuple[int, str]]:
    """Return the header lines of batch systems."""
    lines = ((at, subject.reading.line(at)) for at in subject.reading.comments)
    starts = ((at, line) for at, line in lines if subject.reading.place(at)[1] == 1)
    return [(at, line) for at, line in starts if schedulers.named(line)]


def _batch_header(subject: Subject) -> Iterator[Remark]:
    found = _comments(subject)
    if not found:
        return
    scheduler = schedulers.named(found[0][1])
    asked = schedulers.directives(schedulers.asked(line for _, line in found))
    words = [f"{key}={value}" for key, value in asked.items()
             if not directives.stated(subject.text, f"{key}=")[0]]  # fmt: skip
    line = f"#DTP {' '.join(words)}" if words else ""
    if directives.parse(line, "")[1]:
        line = ""
    mark = found[0][1].split()[0][:20]
    message = f"`{mark}` lines have no effect, as {scheduler.name if scheduler else mark} does not "
    message += "run this script. "
    message += "Ask with `#DTP` instead" if line else "Remove them"
    first = min((command.at for command in subject.reading.commands), default=len(subject.text))
    if line and found[0][0] > first:
        yield Remark(found[0][0], f"{message}, at the top: `{line}`")
        return
    yield Remark(found[0][0], message, fix=line)


def _batch_array(subject: Subject) -> Iterator[Remark]:
    for at, line in _comments(subject):
        if "array" in schedulers.asked([line]):
            message = "asks for an array, but a job runs once: write a loop, such as "
            message += "`for i in $(seq 1 10); do …; done`"
            yield Remark(at, message)


_MODULES, _CONDA = names("module ml"), names("conda mamba micromamba")
_ACTIVATE = re.compile(
    r"activate|.*conda[^/]*/(?:.*/)?(?:conda\.sh|activate)|.*/(?:modules|lmod)(?:\.sh|/init/\w+)",
    re.DOTALL,
)


def _of_clusters(subject: Subject) -> Iterator[Remark]:
    for command in subject.reading.commands:
        name, *words = _texts(command) or [""]
        sourced = name in ("source", ".") and bool(words) and _ACTIVATE.fullmatch(words[0])
        if not (name in _MODULES | _CONDA or sourced) or name in subject.reading.functions:
            continue
        what = f"{name} {words[0][:60]}" if sourced else name
        message = f"`{what}` is not in the job's image, which has the tools of "
        yield Remark(command.at, f"{message}dtp-{subject.protocol} already: remove the line")


_STARTERS = names("srun aprun mpirun mpiexec jsrun")
_SUBMITTERS = names(
    "sbatch salloc qsub qrsh qlogin bsub msub oarsub squeue qstat scancel sacct bjobs condor_submit"
)


def _batch_command(subject: Subject) -> Iterator[Remark]:
    for command in subject.reading.commands:
        for here, after in zip_longest(command.called, command.called[1:]):
            name = here.text
            if name in _STARTERS:
                edit = _without(here, after)
                message = f"`{name}` starts programs through a batch system, and a job has none: "
                yield Remark(here.at, f"{message}write the command without it", edit)
            elif name in _SUBMITTERS:
                message = f"`{name}` talks to a batch system, and a job has none: put what is to "
                yield Remark(here.at, f"{message}run into this script")
            if name not in shelltext.WRAPPERS:
                break


def _without(word: Word, after: Word | None) -> Edit | None:
    """Return how to leave out a program in front of another; it may have options of its own."""
    plain = after and not after.text.startswith("-")
    return Edit(word.at, after.at, "") if after and plain else None


_BATCH_VARIABLE = re.compile(
    r"(?:SLURM|PBS|SGE|LSB|LSF|COBALT|OAR|TORQUE|FLUX)_\w+|NSLOTS|LS_SUBCWD"
    r"|P?SCRATCH|[LG]?SCRATCH_?DIR|GROUP_(?:SCRATCH|HOME)"
)
_INSTEAD = {
    "TMPDIR": r"SLURM_TMPDIR",
    "DTP_DIRECTORY": r"\w*_SUBMIT_?DIR|\w+_O?_?WORKDIR|LS_SUBCWD",
}
_INSTEAD |= {"DTP_NAME": r"\w*_JOB_?ID"}


def _batch_variable(subject: Subject) -> Iterator[Remark]:
    for one in subject.reading.expansions:
        name = one.name
        if one.guarded or not _BATCH_VARIABLE.fullmatch(name) or subject.sets(name):
            continue
        instead = next((new for new, old in _INSTEAD.items() if re.fullmatch(old, name)), "")
        at = subject.text.index(name, one.at)
        message = f"`${name[:60]}` is set by a batch system, and empty in a job: "
        message += f"write `${instead}`" if instead else "write the value itself"
        yield Remark(one.at, message, Edit(at, at + len(name), instead) if instead else None)


# --- what no job has -----------------------------------------------------------------------------


def _root(subject: Subject) -> Iterator[Remark]:
    for command in subject.reading.commands:
        if command.name in ("sudo", "doas", "su"):
            here, *after = command.called
            edit = _without(here, next(iter(after), None)) if command.name != "su" else None
            message = (
                f"`{command.name}` does not work, as a job has no root access: write the command "
            )
            yield Remark(here.at, f"{message}without it", edit)


_PACKAGES = names(
    "apt-get apt aptitude yum dnf microdnf apk zypper pacman brew snap dpkg rpm pip pip3 "
    "gem npm cpan cpanm"
)
_INSTALLS = re.compile(r"(?:local)?install|add|update|upgrade|-[a-z]*[iUS][a-z]*|--install")
_OWN_PLACE = re.compile(
    r"-t|--target\b.*|--prefix\b.*|--root\b.*|--user|--dry-run|download|-q[a-z]*"
)


def _install(subject: Subject) -> Iterator[Remark]:
    for command in subject.reading.commands:
        words = [word.text for word in command.tool]
        if re.fullmatch(r"python[\d.]*", words[0] if words else "") and words[1:2] == ["-m"]:
            del words[:2]
        if not words or words[0] not in _PACKAGES or "venv" in subject.text:
            continue
        if any(map(_INSTALLS.fullmatch, words[1:])) and not any(map(_OWN_PLACE.fullmatch, words)):
            message = f"`{words[0]}` cannot install packages, as a job cannot change its image: "
            message += "use what the image has, or ask the maintainer for an image with it"
            yield Remark(command.tool[0].at, message)


_ARGUMENT = re.compile(r"[1-9]\d?|[@*#]")


def _arguments(subject: Subject) -> Iterator[Remark]:
    why = "a job's script is started without arguments. Write the value into the script"
    for one in subject.reading.expansions:
        own = one.at > subject.sets_arguments or one.block.within("function")
        if _ARGUMENT.fullmatch(one.name) and not (one.guarded or own):
            yield Remark(one.at, f"`${one.name}` is {'0' if one.name == '#' else 'empty'}: {why}")
    for command in subject.reading.commands:
        own = command.at > subject.sets_arguments or command.block.within("function")
        if command.name in ("shift", "getopts", "getopt") and not own:
            yield Remark(command.at, f"`{command.name}` finds nothing: {why}")


def _input(subject: Subject) -> Iterator[Remark]:
    fed_from = len(subject.text)
    for command in subject.reading.commands:
        if command.name == "exec" and command.fed:
            fed_from = min(fed_from, command.at)
        words = [word.text for word in command.tool]
        if not words or words[0] not in ("read", "mapfile", "readarray") or "-u" in words:
            continue
        fed = command.fed or any(block.fed for block in command.block.around())
        if not (fed or command.block.within("function") or command.at > fed_from):
            message = f"`{words[0]}` gets no input: nobody types into a job. "
            yield Remark(command.at, f"{message}Write the value into the script (`name=value`)")


# --- the wrong folder ---------------------------------------------------------------------------

# Programs that images for other things often have too, and that only help there.
_COMMON = names("curl wget ssh scp sftp rsync tar")
_ICOMMANDS = re.compile(r"i(get|put|ls|cd|rm|mv|mkdir|rsync|meta)")  # gocmd's words for the same
_ASKS = re.compile(r"\b(?:command -v|which|type|hash)\s+(?:-\w+\s+)?([\w.+-]+)")


def _folder(subject: Subject) -> Iterator[Remark]:
    asked = set(_ASKS.findall(subject.text))
    own = {_tool(one) for one in subject.reading.commands}.intersection(subject.tools)
    for command in subject.reading.commands:
        tool = _tool(command)
        others = subject.elsewhere.get(tool, ())
        icommand = _ICOMMANDS.fullmatch(tool)
        if icommand and "gocmd" in subject.tools and tool not in asked:
            word = "sync" if icommand[1] == "rsync" else icommand[1]
            message = f"the image of dtp-{subject.protocol} has no `{tool}`: write `gocmd {word}`"
            yield Remark(command.tool[0].at, message)
        if not others or tool in asked | subject.reading.functions or (tool in _COMMON and own):
            continue
        folders = " or ".join(f"dtp-{one}" for one in others[:3])
        message = f"the image of dtp-{subject.protocol} is not known to have `{tool}`: move the "
        message += f"script to {folders}, or use {', '.join(subject.tools[:3])}"
        yield Remark(command.tool[0].at, message)


# --- places --------------------------------------------------------------------------------------


def _path(subject: Subject) -> Iterator[Remark]:
    for at, path in subject.places.missing():
        if path.startswith("/workspace"):
            message = "can only be read, if at all: write to a relative path"
        else:
            last = path.rstrip("/").rsplit("/", 1)[-1]
            such = f", such as `{last[:60]}`" if re.fullmatch(r"[\w.-]+", last) else ""
            message = f"does not exist in a job: write to a relative path{such}, and read what "
            message += "other jobs brought from /workspace/dtp-jobs/… (a path on a server is fine)"
        yield Remark(at, f"`{path[:80]}` {message}")


def _lost(subject: Subject) -> Iterator[Remark]:
    for lost in subject.places.lost():
        message = f"`{lost.text[:80]}` is removed when the job ends: write to a relative path"
        if lost.cd:
            message = f"`{lost.text[:80]}` is removed when the job ends, with all that is written "
            message += "there: stay in the job's directory, where the script starts"
        yield Remark(lost.at, message, Edit(*lost.edit) if lost.edit else None)


# --- failures that nobody sees -------------------------------------------------------------------

_PRINTS = names("echo printf date true : sleep hostname uptime df set trap")
_LIGHT = (
    _PRINTS
    | names(
        "exit disown ls jobs ps [ [[ test export cd touch return mkdir pwd unset for case "
        "shopt umask local (("
    )
    | {""}
)
_PRODUCERS = _LIGHT | names(
    "cat yes seq find sort grep egrep sed awk cut head tail tr uniq jq zcat comm wc env "
    "md5sum sha1sum sha256sum sha512sum cksum du basename dirname"
)


def _tool(command: Command) -> str:
    return command.tool[0].text if command.tool else ""


_EACH = 'write `one=$!` after it, and then `wait "$one"`'


def _background(subject: Subject) -> Iterator[Remark]:
    commands = [one for one in subject.reading.commands if not one.block.within("substitution")]
    behind = [one for one in commands if one.after == "&" or _detaches(one)]
    after = [_tool(one) for one in commands if behind and one.at > behind[-1].at]
    if {"wait", "kill"}.intersection(after):
        return
    if any(tool not in _LIGHT for tool in after):  # it may be a tunnel or a server for what follows
        behind = [one for one in behind if _tool(one) in subject.transfers]
    for one in behind:
        edit = None
        if len(behind) == 1 and one.block.kind == "top" and one.after == "&":
            start = len(subject.text[: one.end].rstrip(" \t"))
            edit = Edit(start, one.end + 1, "")
        where = one.called[0].at if one.called else one.at
        name = _tool(one) or "this"
        message = f"`{name[:40]}` runs in the background and is killed when the script ends: "
        alone = len(behind) == 1
        message += "run it in the foreground" if alone else f"wait for each at the end ({_EACH})"
        yield Remark(where, message, edit)


def _wait(subject: Subject) -> Iterator[Remark]:
    waits = [one for one in subject.reading.commands if _tool(one) == "wait"]
    behind = [one for one in subject.reading.commands if one.after == "&"]
    behind = [one for one in behind if _tool(one) in subject.transfers]
    if not behind or any(len(one.tool) > 1 for one in waits):
        return
    for one in waits:
        if one.at > behind[0].at:
            message = f"`wait` alone hides that `{_tool(behind[0])[:40]}` failed: wait for each"
            yield Remark(one.at, f"{message} ({_EACH})")
            return


def _detaches(command: Command) -> bool:
    words = [word.text for word in command.tool]
    detached = any(re.fullmatch(r"-\w*d\w*", word) for word in words[1:])
    return bool(words) and words[0] in ("screen", "tmux") and detached


def _pipe(subject: Subject) -> Iterator[Remark]:
    if "PIPESTATUS" in subject.text:
        return
    known = subject.options.get("pipefail", len(subject.text))
    previous: dict[int, Command] = {}
    for command in subject.reading.commands:
        block = command.block
        before, previous[id(block)] = previous.get(id(block)), command
        if command.before not in ("|", "|&") or not before or before.body or command.condition:
            continue
        if command.at > known or block.within("substitution") or _tool(before) in _PRODUCERS:
            continue
        message = (
            f"if `{_tool(before)[:40]}` fails, the pipe hides it: add `set -o pipefail` below "
        )
        message += (
            "the first line" if subject.shell == "bash" else "`#!/bin/bash` as the first line"
        )
        yield Remark(before.at, message)


def _last_line(subject: Subject) -> Iterator[Remark]:
    commands = [one for one in subject.reading.commands if not one.block.within("substitution")]
    if not commands or any(one.name == "trap" and "ERR" in _texts(one) for one in commands):
        return
    last = commands[-1]
    if any(one.name == "?" for one in subject.reading.expansions):
        return  # the author looks at exit codes
    if last.body and last.body.kind == "loop":
        if any(
            one.name in ("break", "exit") and last.body in one.block.around() for one in commands
        ):
            return
        last = next((one for one in reversed(commands[:-1]) if one.block is last.body), last)
    elif last.block.kind != "top":
        return
    passes = _tool(last) in _PRINTS or _texts(last) == ["exit", "0"]
    guarded = last.before == "||" if "errexit" in subject.options else last.before != "&&"
    works = [one for one in commands if one.at < last.at and _unguarded(one)]
    if last.before == "||":
        works = [one for one in commands if one.after == "||" and one.at < last.at][-1:]
        works = [one for one in works if _tool(one) not in _LIGHT]
    if not (passes and guarded and works):
        return
    name, failed = _texts(last)[0], _tool(works[-1]) or "what comes before"
    message = f"the job ends as done even if `{failed[:40]}` failed, since `{name}` comes last: "
    strict = "set -euo pipefail" if subject.shell == "bash" else "set -eu"
    advice = f"add `{strict}` below the first line"
    advice = "end with `exit 1` there" if last.before == "||" else advice
    yield Remark(last.at, message + advice)


def _texts(command: Command) -> list[str]:
    return [word.text for word in command.called]


def _unguarded(command: Command) -> bool:
    hidden = command.condition or command.block.within("substitution", "function")
    return not hidden and _tool(command) not in _LIGHT and command.after not in ("||", "&&", "|")


# --- the table -----------------------------------------------------------------------------------

RULES = (
    Rule(
        code="no-shebang",
        about="no shebang at the start of the first line: sh runs the script",
        find=_no_shebang,
        first_line="",
        fires="echo hello",
        silent="#!/bin/sh\necho hello",
    ),
    Rule(
        code="shebang",
        about="an interpreter that the image is not known to have, or options that run no script",
        find=_shebang,
        first_line="",
        severity=Severity.ERROR,
        fires="#!/usr/bin/env python3\nprint('hello')",
        silent="#!/bin/bash -euo pipefail\necho hello",
    ),
    Rule(
        code="batch-header",
        about="header lines of Slurm, PBS, Grid Engine, LSF, Cobalt and OAR",
        find=_batch_header,
        fires="#SBATCH --time=5-00:00:00 --mem=64G\nrclone copy lab:run-7 run-7",
        silent="#DTP time=5d memory=64Gi\nrclone copy lab:run-7 run-7",
    ),
    Rule(
        code="batch-array",
        about="an array of tasks: a job runs once",
        find=_batch_array,
        fires="#SBATCH --array=1-22\nrclone copy lab:run-7 run-7",
        silent="for i in $(seq 1 22); do rclone copy lab:chr$i .; done",
    ),
    Rule(
        code="batch-command",
        about="`srun`, `sbatch`, `qsub` and the like",
        find=_batch_command,
        fires="srun rclone copy lab:run-7 run-7",
        silent="rclone copy lab:run-7 run-7",
    ),
    Rule(
        code="batch-variable",
        about="variables that only clusters set, such as `$SLURM_JOB_ID` and `$SCRATCH`",
        find=_batch_variable,
        fires='rclone copy "$SLURM_SUBMIT_DIR" lab:run-7',
        silent='rclone copy --transfers "${SLURM_CPUS_PER_TASK:-4}" lab:run-7 .',
    ),
    Rule(
        code="environment",
        about="`module` and `conda`: the image has the tools already",
        find=_of_clusters,
        fires="module load sratoolkit\nprefetch SRR000001",
        silent="prefetch SRR000001",
    ),
    Rule(
        code="folder",
        about="a tool of another folder's image",
        find=_folder,
        tools=("aws",),
        elsewhere={"rclone": ("rclone",)},
        fires="rclone copy lab:run-7 run-7",
        silent="aws s3 sync s3://lab/run-7 run-7",
    ),
    Rule(
        code="root",
        about="`sudo`: a job has no root access",
        find=_root,
        fires="sudo rclone copy lab:run-7 run-7",
        silent='echo "no sudo needed"',
    ),
    Rule(
        code="install",
        about="packages installed into the image, which a job may not change",
        find=_install,
        fires="apt-get install -y rclone",
        silent="pip install --target=tools awscli",
    ),
    Rule(
        code="arguments",
        about="`$1`, `$@`, `shift`, `getopts`: a job's script has no arguments",
        find=_arguments,
        fires='rclone copy "lab:$1" .',
        silent='get() { rclone copy "lab:$1" .; }\nget run-7',
    ),
    Rule(
        code="input",
        about="`read` with nothing to read from: a job has no keyboard",
        find=_input,
        fires='read -p "Which run? " run\nprefetch "$run"',
        silent='while read -r run; do prefetch "$run"; done <<END\nSRR000001\nEND',
    ),
    Rule(
        code="path",
        about="an absolute path that no job has, such as `/data/lab`",
        find=_path,
        fires="rclone copy lab:run-7 /data/lab/run-7",
        silent="rsync -a ada@data.example.org:/data/lab/run-7 run-7",
    ),
    Rule(
        code="lost",
        about="results in `$HOME`, `~`, `$TMPDIR` or `/tmp`, which are removed at the end",
        find=_lost,
        fires='rclone copy lab:run-7 "$HOME/run-7"',
        silent='fasterq-dump --temp "$TMPDIR" SRR000001',
    ),
    Rule(
        code="background",
        about="a transfer in the background that nothing waits for: it is killed at the end",
        find=_background,
        fires="nohup rclone copy lab:run-7 run-7 &",
        silent='rclone copy lab:run-7 run-7 & one=$!\nwait "$one"',
    ),
    Rule(
        code="wait",
        about="`wait` without a process: it ends with 0 whatever became of the transfers",
        find=_wait,
        fires="rclone copy lab:a a &\nrclone copy lab:b b &\nwait",
        silent='rclone copy lab:a a & one=$!\nrclone copy lab:b b\nwait "$one"',
        tools=("rclone",),
    ),
    Rule(
        code="pipe",
        about="a pipe without `pipefail` hides that its first part failed",
        find=_pipe,
        fires="curl -fsS https://data.example.org/run-7.tar | tar x",
        silent="set -euo pipefail\ncurl -fsS https://data.example.org/run-7.tar | tar x",
    ),
    Rule(
        code="last-line",
        about="without `set -e`, a last line that only prints hides what failed before",
        find=_last_line,
        fires='prefetch SRR000001\necho "done"',
        silent='set -e\nprefetch SRR000001\necho "done"',
    ),
)
