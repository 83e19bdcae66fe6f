-- Who may do what: roles are read from user_profiles, what a role may do from role_permissions. Never from a token.

create or replace function private.is_service() returns boolean
language sql
stable
set search_path = ''
as $$
  -- The secret key; or a direct connection of the schema's owner (Studio, psql), which carries no token.
  select coalesce(auth.role() = 'service_role', session_user <> 'authenticator')
$$;
comment on function private.is_service() is 'Whether the caller holds the secret key, or is the owner of the database itself.';

create or replace function public.has_permission(permission text) returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.is_service() or exists (
    select 1
      from public.user_profiles p
      join public.role_permissions r on r.role = p.role
     where p.user_id = (select auth.uid())
       and p.suspended_at is null and p.deletion_requested_at is null
       and r.permission = has_permission.permission)
$$;
comment on function public.has_permission(text) is
'Whether the caller may do this. The service role may do everything; a suspended person nothing.';

create or replace function private.require_permission(permission text) returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if public.has_permission(permission) then
    return;
  elsif auth.uid() is null then
    raise sqlstate 'PT401' using message = format('this needs the permission %s, and nobody is signed in', permission),
      hint = 'Call it with the access token of a person who has it, or with the secret key.';
  end if;
  raise sqlstate 'PT403' using message = format('this needs the permission %s, which your role does not have', permission),
    hint = 'Ask an owner of this project.';
end
$$;
comment on function private.require_permission(text) is 'Refuses a caller who may not do this: 401 without a person, 403 otherwise.';

revoke execute on function private.is_service() from public;
revoke execute on function private.require_permission(text) from public;
revoke execute on function public.has_permission(text) from public, anon, authenticated, service_role;
grant execute on function public.has_permission(text) to authenticated, service_role;
