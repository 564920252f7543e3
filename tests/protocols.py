"""What the pages say of each protocol, made from its row, its examples and the tests' marks.

`make golden` rewrites the blocks between `<!-- made from … -->` and `<!-- end -->`. Reads tests as
text and runs none: a mark says which tool and which server a test of a transfer uses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from dtp_action.core import manifests, scripts
from dtp_action.core.catalog import SHELLS_OWN, Catalog, Row, Tool
from dtp_action.core.quantities import print_cpu, print_memory, print_time

ROOT = Path(__file__).parents[1]
PAGES = Path("docs/how-to/protocols")  # a page per protocol, and README.md for all
REFERENCE = Path("docs/reference/protocols.md")
LINES = Path("dtp-jobs/README.md")  # a line per protocol, for researchers
NEVER = ROOT / "tests" / "never_run.yaml"
OWN_IMAGES = ROOT / "images" / "protocols.yaml"  # which rows use an image of the project
FIRST = ("copy", "download", "pull", "transfer")  # examples that most begin with
MARK = "pytest.mark.transfer"
IMAGE = "IMAGE"  # stands for one that is not published yet


# --- what the tests ran --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a mark `transfer` of a test says; exactly one of `server` and `stand_in` is there."""

    file: str  # of the test, from the repository's root
    protocol: str
    tool: str
    server: str = ""
    stand_in: str = ""


@cache
def transfers(root: Path = ROOT) -> tuple[Transfer, ...]:
    """Return the marks of all tests. Raises ValueError for one that cannot be read."""
    files = sorted((root / "tests").rglob("test_*.py"))
    read = ((path.read_text(), str(path.relative_to(root))) for path in files)
    return tuple(one for source, file in read if MARK in source for one in marks(source, file))


def marks(source: str, file: str) -> Iterator[Transfer]:
    """Yield the marks in a test file: their words are texts, or names of a file's own texts."""
    tree = ast.parse(source)
    texts = dict(_texts(tree))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == MARK:
            yield _transfer(call, texts, file)


def _texts(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for line in tree.body:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text


def _transfer(call: ast.Call, texts: dict[str, str], file: str) -> Transfer:
    said = {word.arg or "": _text(word.value, texts) for word in call.keywords}
    unread = [name for name, text in said.items() if not name or not text]
    try:
        made = Transfer(file=file, **{name: text or "" for name, text in said.items()})
    except TypeError as error:
        raise ValueError(f"{file}:{call.lineno}: mark transfer: {error}") from error
    if call.args or unread or bool(made.server) == bool(made.stand_in):
        raise ValueError(
            f"{file}:{call.lineno}: mark transfer needs protocol=, tool= and either server= or "
            "stand_in=, each a text or the name of one in the same file"
        )
    return made


def _text(node: ast.expr, texts: dict[str, str]) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return texts.get(name)
        case ast.JoinedStr(values=parts):
            read = [_text(part, texts) for part in parts]
            return "".join(map(str, read)) if None not in read else None
        case ast.FormattedValue(value=ast.Name() as named, format_spec=None):
            return _text(named, texts)
    return None


def never(path: Path = NEVER) -> dict[str, str]:
    """Return by protocol what was never run, and why."""
    return dict(yaml.safe_load(path.read_text()) or {})


def unaccounted(catalog: Catalog, tried: Iterable[Transfer], reasons: dict[str, str]) -> list[str]:
    """Return what keeps the columns from being whole: a sentence for each gap or stranger."""
    marked = {one.protocol for one in tried}
    return [
        *(
            f"dtp-{name} has no test marked `transfer`, and {NEVER.name} gives no reason"
            for name in catalog.rows
            if name not in marked and name not in reasons
        ),
        *(
            f"{one.file}: mark transfer names dtp-{one.protocol}, which has no row"
            for one in tried
            if one.protocol not in catalog.rows
        ),
        *(
            f"{NEVER.name} names dtp-{name}, which has no row"
            for name in reasons
            if name not in catalog.rows
        ),
    ]


# --- what each protocol must have ----------------------------------------------------------------


def examples(root: Path, protocol: str) -> list[Path]:
    """Return a protocol's examples; what most begin with comes first."""
    found = (root / "dtp-jobs" / f"dtp-{protocol}").glob("*.sh.example")
    return sorted(found, key=lambda path: (not path.name.startswith(FIRST), path))


def missing(root: Path, row: Row) -> list[str]:
    """Return what a row still lacks in a repository: an example, or a line for researchers."""
    shown = examples(root, row.protocol)
    page = root / LINES
    text = page.read_text() if page.exists() else ""
    return [
        *([] if shown else [f"an example in dtp-jobs/dtp-{row.protocol}/"]),
        *(
            f"a line in {LINES} that links {path.relative_to(page.parent)}"
            for path in shown
            if f"({path.relative_to(page.parent)})" not in text
        ),
    ]


# --- blocks of the pages -------------------------------------------------------------------------


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def folders(row: Row) -> str:
    return ", ".join(f"`dtp-{name}`" for name in (row.protocol, *row.aliases))


def image(row: Row) -> str:
    """Return the image in words, and that of services where there is, or will be, one."""
    own = described(row.protocol)

    def shown(key: str, named: str | None) -> str:
        if named:
            return f"`{named}`"
        return f"not published yet: `{own[key]}`" if key in own else ""

    plain, service = shown("image", row.image), shown("serviceImage", row.service_image)
    return f"{plain or 'none'}; for services {service}" if service else plain or "none"


def described(protocol: str) -> dict[str, str]:
    """Return by key of its row the folder of the project's image that it is to have."""
    uses = yaml.safe_load(OWN_IMAGES.read_text())
    return {
        key: f"images/{name}"
        for name, rows in uses.items()
        for key, protocols in rows.items()
        if protocol in protocols
    }


def secret_keys(row: Row) -> str:
    return ", ".join(f"`{key}`" for key in row.secret_keys) or "–"


def defaults(row: Row) -> str:
    amounts = {
        "cpu": print_cpu(row.cpu_millis),
        "memory": print_memory(row.memory),
        "disk": print_memory(row.disk),
        "time": print_time(row.time),
    }
    return " ".join(f"`{key}={amount}`" for key, amount in amounts.items())


def rows_table(rows: Iterable[Row]) -> str:
    cells = ((folders(row), row.doc, image(row), secret_keys(row), defaults(row)) for row in rows)
    return table("folder | for | image | keys of its Secret | defaults", cells)


def exits(rows: Iterable[Row]) -> list[tuple[str, str, int, str, str]]:
    return [
        (f"`dtp-{row.protocol}`", whose, code, meaning, "yes" if code in codes.transient else "no")
        for row in rows
        for whose, codes in _codes(row)
        for code, meaning in sorted((codes.exits | codes.transient).items())
    ]


def _codes(row: Row) -> Iterator[tuple[str, Row | Tool]]:
    """Yield the exit codes of each tool, then those that mean the same whoever ends with them."""
    yield from ((f"`{name}`", tool) for name, tool in row.tools.items())
    yield "any", row


def exits_table(rows: Iterable[Row]) -> str:
    return table("folder | tool | exit code | meaning | `retries=` tries again", exits(rows))


def tried_table(rows: Iterable[Row], tried: Sequence[Transfer], reasons: dict[str, str]) -> str:
    def cell(protocol: str, kind: str) -> str:
        """Tell by server which tools met it, and which tests show it."""
        met: dict[str, list[Transfer]] = {}
        for one in tried:
            if one.protocol == protocol and getattr(one, kind):
                met.setdefault(getattr(one, kind), []).append(one)
        return "<br>".join(told(server, found) for server, found in sorted(met.items())) or "–"

    def told(server: str, found: list[Transfer]) -> str:
        tools = "; ".join(dict.fromkeys(one.tool for one in found))
        return f"{tools} – **{server}** ({tests({one.file for one in found})})"

    def tests(files: set[str]) -> str:
        return ", ".join(f"[{Path(one).stem}](../../{one})" for one in sorted(files))

    cells = (
        (
            f"`dtp-{row.protocol}`",
            cell(row.protocol, "server"),
            cell(row.protocol, "stand_in"),
            " ".join(reasons.get(row.protocol, "–").split()),
        )
        for row in rows
    )
    head = "folder | tool and server real | tool real, server a stand-in | never run"
    return table(head, cells)


def index(rows: Iterable[Row]) -> str:
    return table("page | for", ((f"[`dtp-{r.protocol}`]({r.protocol}.md)", r.doc) for r in rows))


def lines(root: Path, rows: Iterable[Row]) -> str:
    """Return the lines for researchers: page, purpose, examples."""

    def cells(row: Row) -> Iterable[str]:
        page = f"[`dtp-{row.protocol}`](../{PAGES}/{row.protocol}.md)"
        links = (
            f"[{path.name.removesuffix('.sh.example')}]({path.relative_to(root / LINES.parent)})"
            for path in examples(root, row.protocol)
        )
        return page, row.doc, ", ".join(links)

    return table("folder | for | examples", map(cells, rows))


def scripts_block(root: Path, protocol: str) -> str:
    """Return the examples as they stand, each under its path."""
    shown = (
        f"`{path.relative_to(root)}`\n\n```sh\n{path.read_text().rstrip()}\n```"
        for path in examples(root, protocol)
    )
    return "\n\n".join(shown)


def facts(row: Row) -> str:
    lines = {
        "folder": folders(row),
        "image": image(row),
        "unless asked otherwise": defaults(row),
        "Secret": f"`dtp-{row.protocol}`, or `dtp-{row.protocol}-NAME` with `#DTP secret=NAME`",
        "its keys": secret_keys(row) if row.secret_keys else "none is needed",
    }
    return table("what | value", lines.items())


def own_exits(row: Row) -> str:
    """Return what the exit codes of a protocol's tools mean, in the words that status uses."""
    cells = [cells[1:] for cells in exits([row])]
    if not cells:
        return "0 is success. Any other code is shown as it is, and is not tried again."
    return table("tool | exit code | meaning | `retries=` tries again", cells)


def without_dtp(root: Path, row: Row) -> str:
    """Return how the first example is run with docker, confined as in the cluster."""
    (example, *_) = examples(root, row.protocol)
    job = example.name.removesuffix(".sh.example")
    directory = f"{manifests.WORKSPACE}/dtp-jobs/dtp-{row.protocol}/{job}"
    shell = scripts.shell(example.read_bytes()) or "sh"
    variables = {"HOME": manifests.HOME, "TMPDIR": manifests.SCRATCH} | row.env
    lines = [
        f"docker run --rm --user {row.uid}:{row.uid} --read-only --cap-drop ALL",
        "--security-opt no-new-privileges",
        f"--tmpfs {manifests.HOME}:exec --tmpfs {manifests.SCRATCH}:exec",
        " ".join(f"-e {name}={value}" for name, value in variables.items()),
        f'-v "$PWD/data:{directory}" -w {directory}',
        f'-v "$PWD/{job}.sh:{manifests.SCRIPT}:ro" --entrypoint {shell}',
        f"{row.image or IMAGE} {manifests.SCRIPT}",
    ]
    command = " \\\n  ".join(lines)
    why = "[it is not published yet](README.md#a-protocol-without-an-image)"
    note = "" if row.image else f"Put one that you have in place of `{IMAGE}`: {why}.\n\n"
    made = f"mkdir -p data && chmod 777 data\n{command}"
    return f"{note}```sh\n{made}\n```"


def blocks(root: Path, catalog: Catalog) -> dict[tuple[Path, str], str]:
    """Return each block by its page and its name."""
    rows = catalog.rows.values()
    made = {
        (REFERENCE, "the catalog"): rows_table(rows),
        (REFERENCE, "the tests"): tried_table(rows, transfers(root), never()),
        (REFERENCE, "the exit codes"): exits_table(rows),
        (PAGES / "README.md", "the catalog"): index(rows),
        (LINES, "the catalog"): lines(root, rows),
        (PAGES / "README.md", "the shells"): table("exit code | meaning", SHELLS_OWN.items()),
    }
    for row in rows:
        page = PAGES / f"{row.protocol}.md"
        made |= {
            (page, "the examples"): scripts_block(root, row.protocol),
            (page, "the catalog"): facts(row),
            (page, "the exit codes"): own_exits(row),
            (page, "the image"): without_dtp(root, row),
        }
    return made


def written(text: str, name: str, made: str) -> str:
    """Return a page with one block made anew. Raises ValueError where it has no such block."""
    block = re.compile(rf"(<!-- made from {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(text):
        raise ValueError(f"there is no block `<!-- made from {name} -->`")
    return block.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text)
