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
        """Return what was probably meant (`8GB` → `8G`, `90 min` → `90m`), or ''."""
        match = re.fullmatch(r"0*([1-9][0-9]{0,11})\s*([A-Za-z]+)", text, re.ASCII)
        for unit in sorted(filter(None, self.units), key=len, reverse=True):
            if match and match[2].lower().startswith(unit.lower()):
                return f"{match[1]}{unit}"
        return ""


CPU = Kind(what="an amount of CPU", form="`500m` or `2`", units={"": 1000, "m": 1})
MEMORY = Kind(
    what="a size",
    form="`512Mi`, `8Gi` or `8G`",
    units={"Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10}
    | {"T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3},
)
TIME = Kind(
    what="a time", form="`90m`, `24h` or `7d`", units={"d": 86400, "h": 3600, "m": 60, "s": 1}
)

print_cpu, print_memory, print_time = CPU.write, MEMORY.write, TIME.write
