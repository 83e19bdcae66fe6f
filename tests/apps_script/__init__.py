"""Tests of Code.gs and of the simulator that runs it, over HTTP as a worker meets them."""
