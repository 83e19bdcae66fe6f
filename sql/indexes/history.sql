-- A user's latest executions; a flow's latest executions; the latest of the trail, of one account and of all.
create index if not exists execution_logs_user on public.execution_logs (user_id, finished_at desc);
create index if not exists execution_logs_flow on public.execution_logs (flow_id, finished_at desc);
create index if not exists dead_letters_user on public.dead_letters (user_id, died_at desc);
create index if not exists user_activity_logs_user on public.user_activity_logs (user_id, occurred_at desc);
create index if not exists user_activity_logs_time on public.user_activity_logs (occurred_at desc);
create index if not exists user_activity_logs_position on public.user_activity_logs (chain_position);
create index if not exists user_activity_logs_unchained on public.user_activity_logs
(occurred_at) where chain_position is null;
create index if not exists instance_health_status_instance on public.instance_health_status
(instance_id, checked_at desc);
create index if not exists performance_metrics_name on public.performance_metrics (name, recorded_at desc);
create index if not exists system_health_checks_component on public.system_health_checks (component, checked_at desc);
create index if not exists error_reports_user on public.error_reports (user_id, last_seen_at desc);
create index if not exists error_reports_fingerprint on public.error_reports (fingerprint);
