-- Let in: nobody. The functions of the tokens run as the owner of the schema.
-- Denied: every API role, the service too.
alter table private.google_tokens enable row level security;
revoke all on private.google_tokens from public, anon, authenticated, service_role;
