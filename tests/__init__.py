"""Tests of the whole project, on real parts. See conftest.py for the stack that they share."""
