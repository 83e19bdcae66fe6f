"""Tests of the stack without Docker."""
