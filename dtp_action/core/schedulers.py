"""What the header lines of batch systems ask for (`#SBATCH --time=2-00:00:00`), as directives.

One row per batch system: its mark, and what each of its options means. Knows no script.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from dtp_action.core import quantities

MINUTES, HOURS = (60, 1), (3600, 60)  # what `02:30` is worth
LONGEST = 1000  # characters of a header line
Asked = dict[str, float]  # cores, tasks, seconds, bytes, bytes_per_core, array

Reader = Callable[[str], Asked]


def _time(pair: tuple[int, int], alone: int) -> Reader:
    """Read a time; `alone` is what a number without a colon is worth, in seconds."""

    def read(text: str) -> Asked:
        if text.isascii() and text.isdigit():
            return {"seconds": int(text[:9]) * alone}
        found = quantities.clock(text, pair)
        return {"seconds": found} if found else {}

    return read


def _size(key: str, unit: str) -> Reader:
    """Read a size; `unit` is that of a number without one. Batch systems count by 1024."""

    def read(text: str) -> Asked:
        match = re.fullmatch(r"(\d{1,9})(?:\.\d+)?([kKmMgGtT]?)[iI]?[bBwW]?", text)
        power = "KMGT".find((match[2] or unit).upper()) + 1 if match else 0
        return {key: int(match[1]) * 1024**power} if match and power else {}

    return read


def _count(key: str) -> Reader:
    return lambda text: {key: int(text)} if re.fullmatch(r"[1-9]\d{0,4}", text) else {}


def _array(text: str) -> Asked:
    """Read a range of tasks: `1-10`, `1,3,5`; LSF's stands in a job's name, `copy[1-10]`."""
    return {"array": 1} if re.search(r"\d[-,:]\d", text) else {}


def _parts(options: dict[str, Reader], separators: str = "[,:]") -> Reader:
    """Read `walltime=…,mem=…`, as PBS and SGE write resources."""

    def read(text: str) -> Asked:
        asked: Asked = {}
        # The colons of a time separate nothing.
        for part in re.split(rf"{separators}(?!\d)|/", text):
            name, _, value = part.partition("=")
            asked |= options[name](value) if name in options else {}
        return asked

    return read


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """One batch system."""

    name: str
    mark: re.Pattern[str]
    options: dict[str, Reader]


_ANY_ARRAY: Reader = lambda _: {"array": 1}  # noqa: E731 a row's cell
_MEMORY, _CORES = _size("bytes", "M"), _count("cores")
_PBS = {"walltime": _time(MINUTES, 1), "mem": _size("bytes", "B"), "pmem": _size("bytes", "B")}
_PBS |= {"vmem": _size("bytes", "B"), "ncpus": _CORES, "ppn": _CORES}
_SGE = {"h_rt": _time(MINUTES, 1), "s_rt": _time(MINUTES, 1)}
_SGE |= {key: _size("bytes_per_core", "B") for key in ("h_vmem", "mem_free", "virtual_free", "mf")}
_COBALT_TIME = _time(HOURS, 60)

SCHEDULERS = (
    Scheduler(
        name="Slurm",
        mark=re.compile(r"#SBATCH\b"),
        options={
            "time": _time(MINUTES, 60),
            "t": _time(MINUTES, 60),
            "mem": _MEMORY,
            "mem-per-cpu": _size("bytes_per_core", "M"),
            "cpus-per-task": _CORES,
            "c": _CORES,
            "ntasks": _count("tasks"),
            "n": _count("tasks"),
            "array": _ANY_ARRAY,
            "a": _ANY_ARRAY,
        },
    ),
    Scheduler(
        name="PBS",
        mark=re.compile(r"#(?:PBS|MSUB)\b"),
        options={"l": _parts(_PBS), "J": _array, "t": _array},
    ),
    Scheduler(
        name="Grid Engine",
        mark=re.compile(r"#\$(?=[ \t]+-)"),
        options={"l": _parts(_SGE, ","), "pe": lambda text: _CORES(text.split()[-1]), "t": _array},
    ),
    Scheduler(
        name="LSF",
        mark=re.compile(r"#BSUB\b"),
        options={
            "W": _time(HOURS, 60),
            "n": _CORES,
            "M": _size("bytes", ""),  # without a unit it is the site's to say
            "J": _array,
        },
    ),
    Scheduler(
        name="Cobalt",
        mark=re.compile(r"#COBALT\b"),
        options={"t": _COBALT_TIME, "time": _COBALT_TIME, "n": _count("tasks")},
    ),
    Scheduler(
        name="OAR",
        mark=re.compile(r"#OAR\b"),
        options={
            "l": _parts({"walltime": _time(HOURS, 3600), "core": _CORES, "cpu": _CORES}),
            "array": _ANY_ARRAY,
        },
    ),
)


def named(comment: str) -> Scheduler | None:
    """Return the batch system that a comment is a header line of."""
    return next((one for one in SCHEDULERS if one.mark.match(comment)), None)


def asked(comments: Iterable[str]) -> Asked:
    """Return what header lines ask for, all together; a later one counts."""
    found: Asked = {}
    for comment in comments:
        scheduler = named(comment)
        for name, value in _options(comment[:LONGEST]):
            if scheduler and name in scheduler.options:
                found |= scheduler.options[name](value)
    return found


def directives(asked: Asked) -> dict[str, str]:
    """Return the directives that ask for the same: {"time": "5d", "memory": "64Gi"}."""
    cores = ceil(asked.get("cores", 1) * asked.get("tasks", 1))
    memory = asked.get("bytes") or asked.get("bytes_per_core", 0) * cores
    seconds = int(asked.get("seconds", 0))
    written = {
        "time": quantities.TIME.write(seconds) if seconds else "",
        "memory": quantities.MEMORY.write(int(memory)) if memory else "",
        "cpu": str(cores) if cores > 1 else "",
    }
    return {key: value for key, value in written.items() if value}


def _options(comment: str) -> Iterator[tuple[str, str]]:
    """Yield the options of a header line: `--time=1:00`, `--time 1:00`, `-t 1:00`, `-pe smp 8`."""
    try:
        words = shlex.split(comment.lstrip("#"), comments=True)[1:]
    except ValueError:  # a quote without its end
        words = comment.split()[1:]
    name, values = "", list[str]()
    for word in [*words, "-"]:
        option = re.fullmatch(r"--?([A-Za-z][\w-]*)(?:=(.*))?|-", word, re.DOTALL)
        if not option:
            values.append(word)
            continue
        if name:
            yield name, " ".join(values)
        name, values = option[1] or "", [option[2]] if option[2] else []
        glued = re.fullmatch(r"-([tcnaW])(\d.*)", word)  # -c8, -t2:00:00
        name, values = (glued[1], [glued[2]]) if glued else (name, values)
