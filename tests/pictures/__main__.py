"""Draws what people read on GitHub: `make pictures`, into build/pictures/.

GitHub's own Markdown parser and style in headless Chromium: light, dark, and as wide as a phone.
Installs nothing: names given as arguments are the situations to draw, else all. docs/pictures/
holds copies of some, with fewer colours.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.pictures import reader
from tests.pictures.situations import SITUATIONS

OUT = Path(__file__).parents[2] / "build" / "pictures"
STYLE = "github-markdown-css@5.9.0"
NEEDED = {
    "chromium": "Debian, Ubuntu: apt-get install chromium fonts-noto-core fonts-noto-color-emoji",
    "npm": "Debian, Ubuntu: apt-get install npm (it fetches GitHub's style)",
}
QUIET = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--force-device-scale-factor=2",
)
UNFOLDED = ("hostile", "long-names", "one-failed", "preview-one")


class Variant(NamedTuple):
    """One way to look at a page."""

    theme: str
    width: int


VARIANTS = {
    "light": Variant("light", 860),
    "dark": Variant("dark", 860),
    "phone": Variant("light", 390),
}
COLOURS = {
    "light": {"page": "#ffffff", "line": "#d1d9e0", "head": "#f6f8fa", "text": "#1f2328"},
    "dark": {"page": "#0d1117", "line": "#3d444d", "head": "#151b23", "text": "#f0f6fc"},
}
FRAME = """
html, body {{ margin: 0; background: {page}; color: {text} }}
body {{ width: {width}px; font: 14px/1.5 -apple-system, "Noto Sans", sans-serif }}
.turn {{ box-sizing: border-box; width: {width}px; padding: {gap}px; display: flex; gap: 16px }}
.avatar {{ flex: none; width: 40px; height: 40px; border-radius: 50%; background: #6e5494;
  color: #fff; text-align: center; line-height: 40px; font-size: 20px; display: {avatar} }}
.box {{ flex: 1; min-width: 0; border: 1px solid {line}; border-radius: 6px }}
.head {{ background: {head}; border-bottom: 1px solid {line}; border-radius: 6px 6px 0 0;
  padding: 8px 16px }}
.bot {{ border: 1px solid {line}; border-radius: 2em; padding: 0 7px; font-size: 12px }}
.markdown-body {{ padding: 16px; font-size: 14px; border-radius: 6px }}
"""


def main(names: list[str]) -> int:
    """Draw the situations named, or all; return the exit code."""
    missing = [hint for program, hint in NEEDED.items() if not shutil.which(program)]
    unknown = [name for name in names if name not in SITUATIONS]
    if missing or unknown:
        print(*missing, *(f"no situation {name}: {', '.join(SITUATIONS)}" for name in unknown),
              sep="\n", file=sys.stderr)  # fmt: skip
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    css = styles()
    texts = {name: SITUATIONS[name]() for name in names or SITUATIONS}
    for name, text in texts.items():
        (OUT / f"{name}.md").write_text(text + "\n")
    with tempfile.TemporaryDirectory() as profile:
        for variant in VARIANTS:
            draw(texts, variant, css, profile)
    return 0


def styles() -> dict[str, str]:
    """Return GitHub's style sheet by theme, fetched once."""
    if not list(OUT.glob("github-markdown-css-*.tgz")):
        subprocess.run(["npm", "pack", "--silent", STYLE], cwd=OUT, check=True)
    (packed,) = OUT.glob("github-markdown-css-*.tgz")
    with tarfile.open(packed) as tar:
        files = {
            theme: tar.extractfile(f"package/github-markdown-{theme}.css") for theme in COLOURS
        }
        return {theme: file.read().decode() for theme, file in files.items() if file}


def draw(texts: dict[str, str], name: str, css: dict[str, str], profile: str) -> None:
    """Draw every text in one variant."""
    variant = VARIANTS[name]
    pages = {}
    for situation, text in texts.items():
        pages[situation] = OUT / f"{situation}-{name}.html"
        body = reader.to_html(text, reader.FILE if situation == "summary" else reader.COMMENT)
        pages[situation].write_text(page(framed(body, situation), variant, css[variant.theme]))
    for situation, height in heights(pages, texts, variant, css[variant.theme], profile).items():
        picture = OUT / f"{situation}-{name}.png"
        size = f"--window-size={variant.width},{height}"
        chromium(profile, size, f"--screenshot={picture}", pages[situation].as_uri())
        print(picture.relative_to(OUT.parents[1]), flush=True)


def heights(
    pages: dict[str, Path], texts: dict[str, str], variant: Variant, css: str, profile: str
) -> dict[str, int]:
    """Return how high each page is, measured by the browser on one page that holds all."""
    bodies = [re.search(r"(?s)<body>(.*)</body>", path.read_text()) for path in pages.values()]
    script = """<script>document.title = JSON.stringify(
        [...document.querySelectorAll(".turn")].map(e => Math.ceil(e.offsetHeight)))</script>"""
    whole = OUT / "all.html"
    whole.write_text(page("".join(body[1] for body in bodies if body) + script, variant, css))
    title = re.search(r"<title>(.*?)</title>", chromium(profile, "--dump-dom", whole.as_uri()))
    assert title
    return dict(zip(texts, json.loads(html.unescape(title[1])), strict=True))


def framed(body: str, situation: str) -> str:
    """Return a rendered text in the box of a comment, links of mentions included."""
    if situation in UNFOLDED:
        body = body.replace("<details>", "<details open>")
    body = re.sub(r"<p>(@[\w-]+)", r'<p><a href="#"><b>\1</b></a>', body)
    who = '<b>github-actions</b> <span class="bot">bot</span> commented now'
    head = "dispatch summary" if situation == "summary" else who
    return (
        f'<div class="turn"><div class="avatar">▲</div><div class="box"><div class="head">{head}'
        f'</div><div class="markdown-body">{body}</div></div></div>'
    )


def page(body: str, variant: Variant, css: str) -> str:
    """Return a whole page."""
    phone = variant.width < 500
    frame = FRAME.format(
        **COLOURS[variant.theme],
        width=variant.width,
        gap=8 if phone else 16,
        avatar="none" if phone else "block",
    )
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><style>{css}{frame}</style></head>'
        f"<body>{body}</body></html>"
    )


def chromium(profile: str, *arguments: str) -> str:
    """Run the browser; return what it prints."""
    command = ["chromium", *QUIET, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
