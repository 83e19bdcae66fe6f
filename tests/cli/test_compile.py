"""`flowstate db compile`: what goes into a migration, and what is dropped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.sql.ledger import read_migrations, recorded_state

from .project import FUNCTION, INDEX, POLICY, VIEW, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.standard()
    return made


def test_the_first_migration_holds_every_file_functions_first(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.standard()
    [migration] = read_migrations(project.root)
    assert migration.path.name == "20261121120100_first.sql"
    text = migration.text
    places = [text.index(source.strip()) for source in (FUNCTION, VIEW, INDEX, POLICY)]
    assert places == sorted(places)
    assert "drop function" not in text
    assert text.index("check_function_bodies") < places[0]


def test_the_header_names_each_file_with_its_hash_and_objects(project: Project) -> None:
    state = recorded_state(read_migrations(project.root))
    assert {str(item) for recorded in state.values() for item in recorded.objects} == {
        "function private.my_ids()",
        "view public.busy",
        "index public.flows_user",
        'policy "own rows" on public.flows',
    }
    assert all(len(recorded.sha256) == 64 for recorded in state.values())


def test_nothing_changed_writes_nothing(project: Project) -> None:
    compiled = project.compile()
    assert compiled.text is None
    assert project.migrations() == ["20261121120100_first.sql"]


def test_only_the_changed_file_is_included(project: Project) -> None:
    project.write("functions/ids.sql", FUNCTION.replace("public.flows", "public.flows_2"))
    compiled = project.compile()
    assert compiled.changed == ["sql/functions/ids.sql"]
    assert compiled.dependents == []
    assert compiled.drops == []
    assert "create policy" not in str(compiled.text)
    assert project.compile().text is None


def test_a_dry_run_writes_nothing(project: Project) -> None:
    project.write("functions/more.sql", FUNCTION.replace("my_ids", "more_ids"))
    assert "private.more_ids" in str(project.compile(dry=True).text)
    assert project.migrations() == ["20261121120100_first.sql"]


def test_a_changed_argument_type_drops_the_old_function_exactly(project: Project) -> None:
    project.write("functions/add.sql", _adder("a int, b timestamptz default now()"))
    project.compile()
    project.write("functions/add.sql", _adder("a bigint, b timestamptz default now()"))
    compiled = project.compile()
    assert compiled.drops == [
        "drop function if exists public.add(integer, timestamp with time zone);"
    ]
    assert str(compiled.text).index("drop function") < str(compiled.text).index("create or replace")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a int", "amount int"),
        ("a int default 1", "a int"),
        ("a int, out b int", "a int, out b text"),
    ],
)
def test_what_replace_refuses_is_dropped_first(project: Project, before: str, after: str) -> None:
    project.write("functions/add.sql", _adder(before))
    project.compile()
    project.write("functions/add.sql", _adder(after))
    assert project.compile().drops == ["drop function if exists public.add(integer);"]


def test_a_changed_return_type_drops_the_function_and_makes_its_policy_again(
    project: Project,
) -> None:
    project.write("functions/ids.sql", FUNCTION.replace("setof uuid", "setof text"))
    compiled = project.compile()
    assert compiled.drops == [
        'drop policy if exists "own rows" on public.flows;',
        "drop function if exists private.my_ids();",
    ]
    assert compiled.dependents == ["sql/policies/flows.sql"]
    assert "create policy" in str(compiled.text)


def test_another_spelling_of_the_same_type_is_no_new_signature(project: Project) -> None:
    project.write("functions/add.sql", _adder("a int, b varchar(10)[]"))
    project.compile()
    project.write("functions/add.sql", _adder("a INTEGER, b character varying[]"))
    assert project.compile().drops == []


def test_a_new_overload_drops_nothing(project: Project) -> None:
    project.write("functions/add.sql", _adder("a int"))
    project.compile()
    project.write("functions/add.sql", _adder("a int") + _adder("a text"))
    assert project.compile().drops == []


def test_a_removed_file_drops_what_it_created(project: Project) -> None:
    project.remove("views/busy.sql")
    project.remove("indexes/flows.sql")
    compiled = project.compile()
    assert compiled.removed == ["sql/indexes/flows.sql", "sql/views/busy.sql"]
    assert compiled.drops == [
        "drop index if exists public.flows_user;",
        "drop view if exists public.busy;",
    ]
    assert project.compile().text is None


def test_an_object_that_moves_to_another_file_is_not_dropped(project: Project) -> None:
    project.remove("functions/ids.sql")
    project.write("functions/moved.sql", FUNCTION)
    compiled = project.compile()
    assert compiled.changed == ["sql/functions/moved.sql"]
    assert compiled.removed == ["sql/functions/ids.sql"]
    assert compiled.drops == []


def test_a_renamed_policy_drops_the_old_one(project: Project) -> None:
    project.write("policies/flows.sql", POLICY.replace("own rows", "rows of the user"))
    assert project.compile().drops == ['drop policy if exists "own rows" on public.flows;']


def test_a_changed_view_is_dropped_and_so_is_the_view_on_it(project: Project) -> None:
    project.write("views/later.sql", "create or replace view public.later as select * from busy;")
    project.compile()
    project.write("views/busy.sql", VIEW.replace("1 as one", "'1' as one"))
    compiled = project.compile()
    assert compiled.drops == [
        "drop view if exists public.later;",
        "drop view if exists public.busy;",
    ]
    assert compiled.dependents == ["sql/views/later.sql"]


def test_layout_and_comments_of_a_view_are_no_reason_to_drop_it(project: Project) -> None:
    project.write("views/busy.sql", "-- why\n" + VIEW.replace(" as select", "\nAS SELECT"))
    compiled = project.compile()
    assert compiled.changed == ["sql/views/busy.sql"]
    assert compiled.drops == []


def test_a_changed_index_is_dropped_because_if_not_exists_would_keep_it(project: Project) -> None:
    project.write("indexes/flows.sql", INDEX.replace("(user_id)", "(user_id, name)"))
    assert project.compile().drops == ["drop index if exists public.flows_user;"]


def test_a_version_is_always_after_the_newest(project: Project) -> None:
    (project.root / "supabase/migrations/20300101000000_tables.sql").write_text("select 1;")
    project.write("views/more.sql", VIEW.replace("busy", "more"))
    assert project.compile().path == "supabase/migrations/20300101000001_change.sql"


def test_amend_writes_the_newest_compiled_migration_again(project: Project) -> None:
    project.write("views/more.sql", VIEW.replace("busy", "more"))
    project.compile("second")
    project.write("views/more.sql", VIEW.replace("busy", "even_more"))
    compiled = project.compile("", amend=True)
    assert compiled.path == "supabase/migrations/20261121120200_second.sql"
    assert compiled.drops == []
    assert "public.more" not in str(compiled.text)
    assert project.migrations() == ["20261121120100_first.sql", "20261121120200_second.sql"]


def test_amend_is_refused_once_a_release_is_tagged(project: Project) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (
        ["init", "--quiet"],
        [*identity, "commit", "--quiet", "--allow-empty", "-m", "x"],
        ["tag", "v0.1.0"],
    ):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    with pytest.raises(RefusedError, match=r"v0\.1\.0 exists"):
        project.compile("", amend=True)


def test_amend_is_refused_when_nothing_would_be_left(project: Project) -> None:
    project.write("views/more.sql", VIEW.replace("busy", "more"))
    project.compile("second")
    project.remove("views/more.sql")
    with pytest.raises(RefusedError, match="nothing would be left"):
        project.compile("", amend=True)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("functions/Bad-Name.sql", FUNCTION, "lower-case"),
        ("stray.sql", "select 1;", "none of the folders"),
        ("functions/t.sql", "create table public.t ();", "t.sql:1: `create table`"),
        ("functions/t.sql", "\nselect 1;", "t.sql:2: a statement that starts with `select`"),
        ("functions/t.sql", "begin; commit;", "`begin` is not allowed"),
        ("functions/t.sql", POLICY, "belongs under sql/policies/"),
        ("functions/t.sql", "create function f() returns int as $$ $$;", "create or replace"),
        ("functions/t.sql", "create or replace function f() as $x$ ;", "never closed"),
        ("functions/t.sql", "comment on table t is 'it;", "quote ' is never closed"),
        ("functions/t.sql", "comment on table t is null", "semicolon"),
        ("functions/t.sql", "drop function f();", "if exists"),
        ("functions/t.sql", FUNCTION, "created twice"),
        ("views/v.sql", "create view v as select 1;", "create or replace view"),
        ("indexes/i.sql", "create index i on t (a);", "if not exists"),
        ("indexes/i.sql", "create index concurrently i on t (a);", "concurrently"),
        ("policies/p.sql", "create policy p on t using (true);", "drop policy if exists p on"),
        (
            "functions/t.sql",
            "create or replace function g() returns int begin atomic select 1; end;",
            "begin atomic",
        ),
    ],
)
def test_a_source_that_cannot_be_compiled_is_named(
    project: Project, path: str, text: str, message: str
) -> None:
    project.write(path, text)
    with pytest.raises(BadInputError) as caught:
        project.compile()
    assert message in caught.value.message


@pytest.mark.parametrize("name", ["Über", "two words", "1st", "../up", "a-b"])
def test_a_name_that_cannot_be_a_file_name_is_refused(project: Project, name: str) -> None:
    with pytest.raises(BadInputError, match="lower-case"):
        project.compile(name)


def test_a_migration_that_would_never_be_pushed_is_refused(project: Project) -> None:
    (project.root / "supabase/migrations/tables.sql").write_text("select 1;")
    with pytest.raises(BadInputError, match=r"tables\.sql is not named"):
        project.compile()


def test_quotes_bodies_and_comments_hide_their_semicolons(project: Project) -> None:
    text = (
        "/* a ; /* nested ; */ still */ -- and ;\n"
        "create or replace function public.f(\"Odd ; name\" text default 'a;''b')\n"
        "returns text language sql as $body$ select 'x;' || $$;$$; $body$;\n"
    )
    project.write("functions/f.sql", text)
    assert "function public.f(text)" in str(project.compile().text)


def _adder(arguments: str) -> str:
    return (
        f"create or replace function public.add({arguments}) language plpgsql\n"
        "as $$ begin null; end; $$;\n"
    )
