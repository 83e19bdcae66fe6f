-- Foreign keys and the lists that users see.
create index if not exists user_profiles_tier on public.user_profiles (tier);
create index if not exists user_profiles_staff on public.user_profiles (role) where role <> 'user';
create index if not exists user_profiles_deleting on public.user_profiles
(deletion_requested_at) where deletion_requested_at is not null;
create index if not exists user_limit_overrides_end on public.user_limit_overrides (ends_at);
create index if not exists user_sessions_user on public.user_sessions (user_id, last_seen_at desc);
create index if not exists user_sessions_open on public.user_sessions (checked_at) where ended_at is null;
create index if not exists user_sessions_ended on public.user_sessions (ended_at) where ended_at is not null;
create index if not exists flow_versions_user on public.flow_versions (user_id);
create index if not exists flow_schedules_user on public.flow_schedules (user_id);
create index if not exists flow_schedules_flow on public.flow_schedules (flow_id);
create index if not exists flow_schedules_due on public.flow_schedules (next_run_at) where paused_at is null;
create index if not exists apps_script_instances_owner on public.apps_script_instances (owner);
create index if not exists idempotency_keys_created on private.idempotency_keys (created_at);
