"""The decisions: pure functions over values. No I/O, no clock, no environment, no SDK."""
