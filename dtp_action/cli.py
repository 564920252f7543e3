"""The commands: the only error boundary and the only exit."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Data transfers by pull request."""
