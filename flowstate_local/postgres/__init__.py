"""Embedded Postgres: its binaries, the account it runs under, and one cluster's life."""
