"""Amounts as people and Kubernetes write them (`500m`, `8Gi`, `24h`), both ways.

Text in, whole numbers out: thousandths of a CPU, bytes, seconds. Knows no limit but plain sense.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST = 2**53  # beyond any disk, and exact in every JSON reader


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of amount: what it is called, how it is written, and what each unit is worth."""

    what: str
    form: str
    units: dict[str, int]
    spelled: dict[str, str]  # how else people write a unit, in lower case
    clocked: bool = False  # `48:00:00` is understood

    def parse(self, text: str) -> int:
        """Read an amount; raises ValueError with a sentence that says how it is written."""
        match = re.fullmatch(r"([1-9][0-9]{0,11})([A-Za-z]*)", text, re.ASCII)
        amount = int(match[1]) * self.units.get(match[2], 0) if match else 0
        if not 0 < amount <= LARGEST:
            raise ValueError(f"`{text[:60]}` is not {self.what}; write it like {self.form}")
        return amount

    def write(self, amount: int) -> str:
        """Write an amount with the unit that makes the shortest whole number."""
        whole = ((amount // size, unit) for unit, size in self.units.items() if amount % size == 0)
        count, unit = min(whole, default=(amount, ""))
        return f"{count}{unit}"

    def guess(self, text: str) -> str:
        """Return what was probably meant (`8GB` → `8G`, `1.5 h` → `90m`), or ''."""
        match = re.fullmatch(r"0*+(\d{1,12})(?:\.(\d{1,3}))?\s*+([A-Za-z]*+)", text, re.ASCII)
        amount = clock(text) or 0 if self.clocked else 0
        if match:
            unit = self.spelled.get(match[3].lower(), match[3])
            size = self.units.get(unit, 0)
            amount = int(match[1]) * size + int(f"{match[2] or '':0<3}") * size // 1000
            if not match[2] and 0 < amount <= LARGEST:
                return f"{match[1]}{unit}"
        return self.write(amount) if 0 < amount <= LARGEST else ""


def clock(text: str, pair: tuple[int, int] | None = None) -> int | None:
    """Read a time as batch systems write it: `48:00:00`, `2-00:00:00`, `2-12`; seconds, or None.

    `pair` is what the two numbers of `02:30` are worth, where it is known.
    """
    match = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,4})(?::(\d{1,2}))?(?::(\d{1,2}))?", text, re.ASCII)
    if not match:
        return None
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number]
    if days or len(numbers) == 3:
        worth: tuple[int, ...] = (3600, 60, 1)
    elif len(numbers) == 2 and pair:
        worth = pair
    else:
        return None
    return int(days or 0) * 86400 + sum(a * b for a, b in zip(numbers, worth, strict=False))


def _spelled(names: dict[str, str]) -> dict[str, str]:
    return {name: unit for unit, all_ in names.items() for name in all_.split()}


CPU = Kind(
    what="an amount of CPU",
    form="`500m` or `2`",
    units={"": 1000, "m": 1},
    spelled=_spelled({"": "core cores cpu cpus"}),
)
MEMORY = Kind(
    what="a size",
    form="`512Mi`, `8Gi` or `8G`",
    units={"Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10}
    | {"T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3},
    spelled=_spelled({"Ti": "ti tib", "Gi": "gi gib", "Mi": "mi mib", "Ki": "ki kib"})
    | _spelled({"T": "t tb", "G": "g gb", "M": "m mb", "k": "k kb"}),
)
TIME = Kind(
    what="a time",
    form="`90m`, `24h` or `7d`",
    units={"d": 86400, "h": 3600, "m": 60, "s": 1},
    spelled=_spelled({"d": "d day days", "h": "h hr hrs hour hours"})
    | _spelled({"m": "m min mins minute minutes", "s": "s sec secs second seconds"}),
    clocked=True,
)

print_cpu, print_memory, print_time = CPU.write, MEMORY.write, TIME.write
