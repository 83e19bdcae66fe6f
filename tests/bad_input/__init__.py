"""What a new user does wrong, through the real doors: each answer says what is wrong, and nothing
has changed.

Command lines are in tests/cli (test_bad_input, test_not_reachable), settings in tests/worker.
"""
