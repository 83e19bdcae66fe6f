-- Which endpoint addresses are allowed at all.

create or replace function private.check_instance() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- scheme, host with an optional port, path; user information, queries and fragments do not match.
  v_parts text[] := regexp_match(new.url, '^(https?)://([A-Za-z0-9.-]+|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)$');
  v_host text := lower(v_parts[2]);
  v_allowed text[];
begin
  if v_parts is null then
    raise sqlstate 'PT400' using message = 'url must have the form https://host/path, with no user, query or fragment',
      hint = 'An Apps Script address looks like https://script.google.com/macros/s/<deployment id>/exec';
  end if;
  select c.allowed_hosts into v_allowed from public.load_balancer_config c;
  if not (v_host = any (v_allowed) and (v_parts[3] is null or v_parts[3] = ':443'))
     and not (v_host || coalesce(v_parts[3], '') = any (v_allowed)) then
    raise sqlstate 'PT400' using
      message = format('url: the host %s is not on the allow-list (%s)', v_host || coalesce(v_parts[3], ''),
                       array_to_string(v_allowed, ', ')),
      hint = 'Use an allowed host, or add this one to load_balancer_config.allowed_hosts first.';
  end if;
  if v_parts[1] = 'http' and v_host not in ('127.0.0.1', 'localhost', '[::1]') then
    raise sqlstate 'PT400' using message = 'url must use https; http is accepted for loopback addresses only',
      hint = 'Use the https address of the endpoint.';
  end if;
  if new.kind = 'apps_script' and v_parts[4] !~ '^/(a/macros/[^/]+|macros)/s/[A-Za-z0-9_-]+/exec$' then
    raise sqlstate 'PT400' using
      message = 'url: the path of an Apps Script deployment is /macros/s/<deployment id>/exec',
      hint = 'Copy the web app address that "Deploy, Manage deployments" shows; a path behind /exec leads to a login page.';
  end if;
  return new;
end
$$;
comment on function private.check_instance() is 'Trigger: only allowed hosts, https, and the address form of a deployment.';

create or replace trigger check_instance before insert or update of url, kind on public.apps_script_instances
for each row execute function private.check_instance();

revoke execute on function private.check_instance() from public;
