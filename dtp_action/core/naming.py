"""Derives the one name of an attempt, which is its lock. Frozen: tests/unit/golden/names-*.tsv.

The same ref and number give the same name for ever, on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import re

from dtp_action.core.model import Ref

SCHEME = 2  # of a new ledger; part of the hash, and written on the ledger's card
SCHEMES = {1: (22, 5), 2: (14, 10)}  # how much of the job is readable; bytes of the hash
MAX_LENGTH = 52  # leaves room for what Kubernetes appends to Pod names


def attempt_name(ref: Ref, attempt: int, scheme: int = SCHEME) -> str:
    """Return the name of the entry and the Job: a DNS label of at most 52 characters.

    A ledger keeps the scheme that it was begun with: two names for one attempt would be two locks.
    """
    length, strength = SCHEMES[scheme]
    stem = f"dtp-{_slug(ref.protocol, 8)}-{_slug(ref.job, length)}"
    name = f"{stem}-{_digest(ref, scheme, strength)}-{attempt}"
    if len(name) > MAX_LENGTH:
        raise ValueError(f"attempt {attempt} of {ref} has no name: the number is too long")
    return name


def names(ref: Ref, attempt: int) -> set[str]:
    """Return the names that an attempt has in ledgers of any scheme."""
    return {attempt_name(ref, attempt, scheme) for scheme in SCHEMES}


def job_part(name: str) -> str:
    """Return what the names of all attempts of a job begin with, of one of them."""
    return name.rpartition("-")[0]


def number_part(name: str) -> int:
    """Return the attempt's number as its name has it, 0 where it has none."""
    digits = name.rpartition("-")[2]
    return int(digits) if re.fullmatch("[0-9]{1,9}", digits) else 0


def _slug(text: str, length: int) -> str:
    """Return what a reader recognises of `text`; two texts may share it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:length].strip("-")


def _digest(ref: Ref, scheme: int, strength: int) -> str:
    """Return what tells apart refs of the same slug; refs that meet are held by name."""
    digest = hashlib.sha256(f"{scheme}\0{ref}".encode()).digest()
    return base64.b32encode(digest[:strength]).decode().lower()
