-- Sealed tokens: no API role may touch them, and nobody is let in. The functions run as their owner.
alter table private.google_tokens enable row level security;
revoke all on private.google_tokens from public, anon, authenticated, service_role;
