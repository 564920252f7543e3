"""Data transfers by pull request: merged scripts become Pods on a shared claim, once each."""

from importlib.metadata import version

__version__ = version("dtp-requests")
