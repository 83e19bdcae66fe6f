"""The stack without Docker, for development, tests and the demo."""
