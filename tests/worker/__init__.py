"""Tests of the worker, against real parts or, for answers that no real part gives, a tiny server."""
