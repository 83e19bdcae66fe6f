-- Let in: nobody. Our functions run as the owner of the schema.
-- Denied: every API role, to tables and views in private, and to partitions by their own names.
alter table private.user_queue enable row level security;
revoke all on private.user_queue from public, anon, authenticated, service_role;
alter table private.flow_windows enable row level security;
revoke all on private.flow_windows from public, anon, authenticated, service_role;
alter table private.queue_state enable row level security;
revoke all on private.queue_state from public, anon, authenticated, service_role;
alter table private.wake_ups enable row level security;
revoke all on private.wake_ups from public, anon, authenticated, service_role;
alter table private.idempotency_keys enable row level security;
revoke all on private.idempotency_keys from public, anon, authenticated, service_role;
alter table private.partition_policies enable row level security;
revoke all on private.partition_policies from public, anon, authenticated, service_role;
alter table private.erasures enable row level security;
revoke all on private.erasures from public, anon, authenticated, service_role;
alter table private.activity_chain enable row level security;
revoke all on private.activity_chain from public, anon, authenticated, service_role;
alter table private.history_rewrites enable row level security;
revoke all on private.history_rewrites from public, anon, authenticated, service_role;
alter table private.context_usage enable row level security;
revoke all on private.context_usage from public, anon, authenticated, service_role;
alter table private.housekeeping_marks enable row level security;
revoke all on private.housekeeping_marks from public, anon, authenticated, service_role;

-- Partitions are reached through their parents only.
revoke all on schema partitions from public, anon, authenticated, service_role;
revoke all on schema private from public, anon, authenticated, service_role;

alter table partitions.user_activity_logs_default enable row level security;
alter table partitions.instance_health_status_default enable row level security;
alter table partitions.rate_limit_tracking_default enable row level security;
alter table partitions.execution_logs_default enable row level security;
alter table partitions.performance_metrics_default enable row level security;
alter table partitions.command_history_default enable row level security;
