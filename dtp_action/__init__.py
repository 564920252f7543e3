"""Data transfers by pull request: merged scripts become Pods on a shared claim, once each."""

__version__ = "0.1.0"  # as pyproject.toml has it; where nothing is installed, nobody else knows
