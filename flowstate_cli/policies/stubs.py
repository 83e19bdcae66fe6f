"""What to add to `rules.toml` for an object that it does not know: the text of a failure."""

from __future__ import annotations

from flowstate_cli.policies.inventory import Function, Relation


def relation_stub(relation: Relation) -> str:
    """A rule to fill in, with a sample of the columns that have no default."""
    if relation.kind == "sequence":
        return f'[sequences.{_key(relation.title)}]\nservice = "su"'
    if relation.kind in ("view", "materialized view"):
        first = relation.columns[0] if relation.columns else "id"
        return (
            f"[views.{_key(relation.title)}]\n"
            'own = "s"\nservice = "s"\n'
            f'find = [{{ {first} = "$<table beneath>.<its column>" }}]'
        )
    owner = ["user_id"] if "user_id" in relation.columns else []
    needed = [*owner, *(column for column in relation.required if column not in owner)]
    return "\n".join(
        [
            f"[tables.{_key(relation.title)}]",
            'own = "<who may do what with their rows: s i u d>"',
            'service = "siud"',
            sample_stub(relation.title, needed),
        ]
    )


def sample_stub(name: str, columns: list[str]) -> str:
    """How a row is made."""
    lines = [f"[tables.{_key(name)}.sample]"]
    for column in columns:
        value = "$user" if column == "user_id" else "<SQL expression>"
        lines.append(f'{column} = "{value}"')
    return "\n".join(lines)


def function_stub(function: Function) -> str:
    """A rule to fill in, with the call where users may execute it."""
    lines = [f"[functions.{_key(function.title)}]"]
    if "authenticated" in function.granted_to:
        lines.append('own = "x"    # or permission = "…", or signed_in = "x"')
    if "service_role" in function.granted_to:
        lines.append('service = "x"')
    if "authenticated" in function.granted_to:
        lines.append(call_stub(function))
    return "\n".join(lines)


def call_stub(function: Function) -> str:
    """The call to fill in."""
    arguments = ", ".join(
        f'{name} = "{"$user" if name == "user_id" else "<SQL expression>"}"'
        for name in function.argument_names
        if name
    )
    return f"call = {{ {arguments} }}" if arguments else "call = {}"


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name
