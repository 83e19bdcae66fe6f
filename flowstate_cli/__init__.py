"""The command line `flowstate`: a local stack, the database's SQL, flows, the queue, and checks.

`main.py` composes it, `commands/` holds one file per group, `sql/` is the compiler which turns the
re-runnable sources under `sql/` into migrations. Everything that talks to the API goes through
`api.py`, everything that prints goes through `output.py`, and every failure is one of `errors.py`.
"""
