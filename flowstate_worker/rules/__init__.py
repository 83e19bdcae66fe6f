"""Pure rules: what a message means and what follows from it.

Standard library and pydantic only; no I/O, no clock of their own, no randomness without a given
source.
"""
