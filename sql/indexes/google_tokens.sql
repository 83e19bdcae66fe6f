-- What the refresher looks at next.
create index if not exists google_tokens_due on private.google_tokens
(next_refresh_at) where sealed_refresh_token is not null;
