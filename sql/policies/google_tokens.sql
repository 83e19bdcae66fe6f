-- Sealed tokens of users. The functions run as their owner.
-- Let in: nobody.
-- Denied: every API role, the service too.
alter table private.google_tokens enable row level security;
revoke all on private.google_tokens from public, anon, authenticated, service_role;
