-- Small helpers that tables and other functions stand on.

create or replace function private.new_execution_id() returns uuid
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- A version 7 uuid (RFC 9562): 48 bits of Unix milliseconds, then random bits. Ids of one moment sit on one index page.
  return encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
              from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid;
end
$$;
comment on function private.new_execution_id() is 'A time-ordered execution id (uuid version 7).';

create or replace function private.execution_id_time(execution_id uuid) returns timestamptz
language sql
immutable
strict
set search_path = ''
as $$
  select to_timestamp(('x' || substr(replace(execution_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;
comment on function private.execution_id_time(uuid) is
'When an execution id was made; history is never older, so that a look-up by id skips earlier partitions.';

create or replace function private.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;
comment on function private.touch_updated_at() is 'Trigger: keeps updated_at.';

create or replace trigger touch_updated_at before update on public.subscription_tiers
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.user_profiles
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.flow_schedules
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.apps_script_owners
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.apps_script_instances
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.load_balancer_config
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on private.google_tokens
for each row execute function private.touch_updated_at();

revoke execute on function private.new_execution_id() from public;
revoke execute on function private.execution_id_time(uuid) from public;
revoke execute on function private.touch_updated_at() from public;
