-- A user's sessions: their list, and the sum of their bytes.
create index if not exists sessions_user on public.sessions (user_id, created_at desc);
-- What has been idle for long; last_active_at moves once a minute at most.
create index if not exists sessions_idle on public.sessions (last_active_at, id);
create index if not exists command_history_user on public.command_history (user_id, recorded_at desc);
create index if not exists context_snapshots_user on public.context_snapshots (user_id);
