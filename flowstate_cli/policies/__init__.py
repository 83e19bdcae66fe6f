"""Who may do what, tried out: every object × verb × caller against `rules.toml`, on any database.

`callers` are the people and keys, `rules` what is written down, `inventory` what the catalogs hold,
`samples` makes rows to try on; `relations`, `functions` and `topics` try; `matrix` compares.
"""
