"""What the matrix notices, and how it says so: one hole at a time."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest

from flowstate_cli.policies.rules import FunctionRule, Rules, Values

from .conftest import Differences, matrix_of


@dataclass(frozen=True)
class Hole:
    """What opens it, the object that is looked at, and what has to be said."""

    statement: str
    name: str
    said: str


HOLES = {
    "a new table": Hole(
        "create table public.notes (id int primary key, user_id uuid, body text not null);"
        "alter table public.notes enable row level security",
        "notes",
        "table notes: it has no rule",
    ),
    "a new view": Hole(
        "create view public.notes with (security_invoker = true) as select 1 as one",
        "notes",
        "view notes: it has no rule",
    ),
    "a new materialized view": Hole(
        "create materialized view public.notes as select 1 as one",
        "notes",
        "materialized view notes: it has no rule",
    ),
    "a new sequence": Hole(
        "create sequence public.notes", "notes", "sequence notes: it has no rule"
    ),
    "a new function": Hole(
        "create function public.notes() returns int"
        " language sql set search_path = '' as 'select 1'",
        "notes",
        "function notes: it has no rule",
    ),
    "a new partition that the API serves": Hole(
        "create table public.notes partition of public.execution_logs"
        " for values from ('2001-01-01') to ('2001-01-02')",
        "notes",
        "partition of execution_logs notes: it has no rule",
    ),
    "a table without its rule's object": Hole(
        "drop view public.flow_executions",
        "flow_executions",
        "view flow_executions: it has a rule, and does not exist",
    ),
    "a view with its owner's rights": Hole(
        "alter view public.flow_executions reset (security_invoker)",
        "flow_executions",
        "a user, on another user's, can select, and no rule says so",
    ),
    "a closed view with its owner's rights": Hole(
        "alter view private.effective_limits reset (security_invoker)",
        "private.effective_limits",
        "it runs with its owner's rights",
    ),
    "a table without row security": Hole(
        "alter table public.flows disable row level security",
        "flows",
        "a user, on another user's, can delete, and no rule says so",
    ),
    "a partition without row security": Hole(
        "alter table partitions.execution_logs_default disable row level security",
        "partitions.execution_logs_default",
        "row security is off",
    ),
    "a partition granted": Hole(
        "grant select on partitions.execution_logs_default to authenticated",
        "partitions.execution_logs_default",
        "authenticated is granted select, and no rule says so",
    ),
    "a column too many": Hole(
        "grant update (version) on public.flows to authenticated",
        "flows",
        "authenticated is granted update (version), and no rule says so",
    ),
    "a column too few": Hole(
        "revoke update (name) on public.flows from authenticated",
        "flows",
        "authenticated is not granted update (name), though the rule says so",
    ),
    "a column granted to public": Hole(
        "grant select (name) on public.flows to public",
        "flows",
        "granted to public select, and no rule says so",
    ),
    "a change without a filter": Hole(
        'drop policy "users update their own" on public.flows;'
        "create policy loose on public.flows for update to authenticated using (true)",
        "flows",
        "a user, on another user's, can update, and no rule says so: by a request without a filter",
    ),
    "a deletion without a filter": Hole(
        'drop policy "users delete their own" on public.flows;'
        "create policy loose on public.flows for delete to authenticated using (true)",
        "flows",
        "a user, on another user's, can delete, and no rule says so: by a request without a filter",
    ),
    "a reference to another user's row": Hole(
        'alter policy "users insert their own" on public.flow_schedules'
        " with check ((select auth.uid()) = user_id)",
        "flow_schedules",
        "a user, on another user's, can insert, and no rule says so: with the other user's flow_id",
    ),
    "a row given away": Hole(
        "grant update (flow_id) on public.flow_schedules to authenticated;"
        'alter policy "users update their own" on public.flow_schedules'
        " with check ((select auth.uid()) = user_id)",
        "flow_schedules",
        "a user, on another user's, can update, and no rule says so: giving away its flow_id",
    ),
    "a role read from the token": Hole(
        "create policy loose on public.user_sessions for select to authenticated"
        " using ((select auth.jwt()) ->> 'user_role' = 'owner')",
        "user_sessions",
        "a user, on another user's, can select, and no rule says so",
    ),
    "user metadata believed": Hole(
        "create policy loose on public.flows for select to authenticated"
        " using ((select auth.jwt()) -> 'user_metadata' ->> 'user_id' = user_id::text)",
        "flows",
        "a user, on another user's, can select, and no rule says so",
    ),
    "staff let in by a policy": Hole(
        "create policy staff on public.flows for select to authenticated"
        " using ((select public.has_permission('users.read')))",
        "flows",
        "support, on a user's, can select, and no rule says so",
    ),
    "a verb missing": Hole(
        "revoke delete on public.flows from service_role",
        "flows",
        "the service role, cannot delete, though the rule says so",
    ),
    "a closed table granted": Hole(
        "grant usage on schema private to authenticated;"
        "grant select on private.user_queue to authenticated",
        "private.user_queue",
        "authenticated is granted select, and no rule says so",
    ),
    "a closed schema opened": Hole(
        "grant usage on schema private to authenticated",
        "no-object",
        "schema private: authenticated has usage on it",
    ),
    "temporary objects": Hole(
        "do 'begin execute format("
        "$f$grant temporary on database %I to public$f$, current_database()); end'",
        "no-object",
        "database: anon has temporary on it",
    ),
    "a schema to put shadows into": Hole(
        "grant create on schema public to authenticated",
        "no-object",
        "schema public: authenticated has create on it",
    ),
    "a table of an API role": Hole(
        "grant create on schema public to service_role;"
        "alter table public.flow_versions owner to service_role",
        "flow_versions",
        "it belongs to service_role, whom row security does not bind",
    ),
    "a function without a search path": Hole(
        "alter function public.get_queue_status() reset search_path",
        "get_queue_status",
        "its search_path is not pinned",
    ),
    "a function that takes any id": Hole(
        "create or replace function public.cancel_flow_execution(execution_id uuid) returns jsonb"
        " language sql security definer set search_path = ''"
        " as $$ select to_jsonb(q) from public.flow_execution_queue q where q.id = $1 $$",
        "cancel_flow_execution",
        "a user, on another user's, can call, and no rule says so",
    ),
    "an id that is nobody's in a call": Hole(
        "create function public.resume_user(flow_id uuid) returns int"
        " language sql security definer set search_path = '' as 'select 1';"
        "revoke execute on function public.resume_user(uuid) from public;"
        "grant execute on function public.resume_user(uuid) to authenticated",
        "resume_user",
        "the `call` of its rule has no flow_id that is a user's",
    ),
    "a function that answers nothing": Hole(
        "create or replace function public.cancel_flow_execution(execution_id uuid) returns jsonb"
        " language sql security definer set search_path = '' as $$ select '{}'::jsonb $$",
        "cancel_flow_execution",
        "a user, on their own, cannot call, though the rule says so",
    ),
    "a function that asks for the wrong permission": Hole(
        "create or replace function public.remove_tier("
        " tier text, reason text default null) returns jsonb"
        " language plpgsql security definer set search_path = '' as $$ begin"
        " perform private.require_permission('users.read');"
        " return jsonb_build_object('tier', tier); end $$",
        "remove_tier",
        "support, on a user's, can call, and no rule says so",
    ),
    "a function that fails": Hole(
        "create or replace function public.cancel_flow_execution(execution_id uuid) returns jsonb"
        " language sql security definer set search_path = '' as $$ select to_jsonb(1/0) $$",
        "cancel_flow_execution",
        "whether a user, on their own, may call cannot be told: division by zero",
    ),
    "the hook open to users": Hole(
        "grant execute on function public.custom_access_token_hook to authenticated",
        "custom_access_token_hook",
        "authenticated may execute it, and no rule says so",
    ),
    "the hook closed to Auth": Hole(
        "revoke execute on function public.custom_access_token_hook from supabase_auth_admin",
        "custom_access_token_hook",
        "supabase_auth_admin may not execute it, though the rule says so",
    ),
    "a permission too many": Hole(
        "insert into public.role_permissions values ('support', 'users.delete')",
        "no-object",
        "support holds users.delete, and no rule says so",
    ),
    "a permission missing": Hole(
        "delete from public.role_permissions where permission = 'ops.listen' and role = 'admin'",
        "ops",
        "an admin, on a user's, cannot hear, though the rule says so",
    ),
    "presence on a user's channel": Hole(
        'alter policy "users hear their own channel" on realtime.messages'
        " using ((select realtime.topic()) = 'user:' || (select auth.uid())::text)",
        "user:<id>",
        "a user, on their own, can see presence on, and no rule says so",
    ),
    "sending to workers": Hole(
        "create policy loose on realtime.messages for insert to authenticated with check (true)",
        "flowstate:queue",
        "a user, on their own, can send to, and no rule says so",
    ),
}


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_a_hole_is_named(broken: psycopg.Connection, differences: Differences, hole: Hole) -> None:
    assert differences(hole.name) == []
    broken.execute(hole.statement.encode())
    assert hole.said in "\n".join(differences(hole.name))


def test_each_id_of_a_call_is_another_users_once(broken: psycopg.Connection, rules: Rules) -> None:
    broken.execute(
        "create function public.pair(flow_id uuid, schedule_id uuid) returns text"
        " language sql security definer set search_path = '' as $$"
        " select f.name from public.flows f, public.flow_schedules s"
        "  where f.id = $1 and s.id = $2 and s.user_id = auth.uid() $$;"
        "revoke execute on function public.pair from public;"
        "grant execute on function public.pair to authenticated"
    )
    call: Values = {"flow_id": "$flows.id", "schedule_id": "$flow_schedules.id"}
    pair = FunctionRule(own="x", call=call)
    known = rules.model_copy(update={"functions": {**rules.functions, "pair": pair}})
    [said] = matrix_of(broken, known, "pair").lines()
    assert said.endswith("can call, and no rule says so: with the other user's flow_id")
