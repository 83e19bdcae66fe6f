"""One file per group of commands. A command reads its arguments, calls a library, prints."""
