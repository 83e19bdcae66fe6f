"""The command line and the SQL compiler."""
