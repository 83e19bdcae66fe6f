"""Tests of the worker, against real parts or, for answers that none of them gives, tiny servers."""
