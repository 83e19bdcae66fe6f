"""What `flowstate doctor` looks at: one function for each area, each returning its checks.

finding (the result of one check) ← api, database, instances (the areas) ← examination (all of
them, in the order in which one failure explains the next).
"""
