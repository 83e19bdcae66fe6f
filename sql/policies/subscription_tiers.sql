-- Let in: everyone who is signed in, reading what there is to have; the service role, with all verbs.
-- Denied: anonymous callers; users who write. Staff changes limits through set_tier().
alter table public.subscription_tiers enable row level security;
revoke all on public.subscription_tiers from public, anon, authenticated, service_role;
grant select on public.subscription_tiers to authenticated;
grant select, insert, update, delete on public.subscription_tiers to service_role;

drop policy if exists "users read all tiers" on public.subscription_tiers;
create policy "users read all tiers" on public.subscription_tiers
for select to authenticated using (true);
