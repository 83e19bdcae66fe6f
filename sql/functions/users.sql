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
  perform private.refresh_queue_rows(array[new.user_id]);
  return null;
end
$$;
comment on function private.apply_profile_to_queue() is 'Trigger: a changed tier, suspension or deletion acts on the next claim.';

create or replace trigger apply_profile_to_queue after update of tier, suspended_at, deletion_requested_at
on public.user_profiles for each row execute function private.apply_profile_to_queue();

create or replace function private.apply_tier_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- The rows of idle users are refreshed when they enqueue next.
  perform private.refresh_queue_rows(array(
    select q.user_id from private.user_queue q where q.tier = new.tier and (q.available > 0 or q.running > 0)));
  return null;
end
$$;
comment on function private.apply_tier_to_queue() is 'Trigger: changed tier limits act on the next claim of its active users.';

create or replace trigger apply_tier_to_queue after update of weight, max_running on public.subscription_tiers
for each row execute function private.apply_tier_to_queue();

revoke execute on function private.create_user_profile() from public;
revoke execute on function private.apply_profile_to_queue() from public;
revoke execute on function private.apply_tier_to_queue() from public;
