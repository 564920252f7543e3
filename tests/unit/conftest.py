"""How hard the property tests look: quick and the same each time; DTP_PROPERTIES=long digs."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("quick", derandomize=True, deadline=None, database=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("DTP_PROPERTIES", "quick"))
