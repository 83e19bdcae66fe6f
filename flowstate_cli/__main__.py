"""`python -m flowstate_cli` is `flowstate`."""

from flowstate_cli.main import main

main()
