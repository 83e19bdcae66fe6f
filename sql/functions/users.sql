-- Profiles follow auth.users; the queue's own row of a user follows the profile and the tier.

create or replace function private.create_user_profile() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.user_profiles (user_id) values (new.id) on conflict do nothing;
  return new;
end
$$;
comment on function private.create_user_profile() is 'Trigger: every auth user has a profile, on the free tier.';

create or replace trigger create_user_profile after insert on auth.users
for each row execute function private.create_user_profile();

create or replace function private.apply_profile_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update private.user_queue q
     set tier = t.tier, weight = t.weight, max_running = t.max_running, suspended = new.suspended_at is not null
    from public.subscription_tiers t
   where q.user_id = new.user_id and t.tier = new.tier;
  return new;
end
$$;
comment on function private.apply_profile_to_queue() is 'Trigger: a changed tier or suspension acts on the next claim.';

create or replace trigger apply_profile_to_queue after update of tier, suspended_at on public.user_profiles
for each row execute function private.apply_profile_to_queue();

create or replace function private.apply_tier_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_users uuid[];
begin
  -- The rows of idle users are refreshed when they enqueue next. In order of user_id, as everywhere.
  select array_agg(q.user_id) into v_users from private.user_queue q
   where q.tier = new.tier and (q.available > 0 or q.running > 0);
  perform 1 from private.user_queue q where q.user_id = any (v_users) order by q.user_id for update;
  update private.user_queue q
     set weight = new.weight, max_running = new.max_running
   where q.user_id = any (v_users) and q.tier = new.tier;
  return new;
end
$$;
comment on function private.apply_tier_to_queue() is 'Trigger: changed tier limits act on the next claim of its active users.';

create or replace trigger apply_tier_to_queue after update of weight, max_running on public.subscription_tiers
for each row execute function private.apply_tier_to_queue();

revoke execute on function private.create_user_profile() from public;
revoke execute on function private.apply_profile_to_queue() from public;
revoke execute on function private.apply_tier_to_queue() from public;
