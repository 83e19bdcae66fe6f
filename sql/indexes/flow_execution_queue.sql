-- The head of each user's own order: claims and positions.
create index if not exists flow_execution_queue_heads on public.flow_execution_queue
(user_id, priority desc, run_at, id) where state = 'available';
-- What becomes due.
create index if not exists flow_execution_queue_scheduled on public.flow_execution_queue
(run_at) where state = 'scheduled';
-- Calls in flight by instance; the leases are among them, so rescue reads it as well.
create index if not exists flow_execution_queue_running on public.flow_execution_queue
(instance_id) where state = 'running';
-- Foreign keys, and a user's or a flow's live executions.
create index if not exists flow_execution_queue_user on public.flow_execution_queue (user_id, queued_at desc);
create index if not exists flow_execution_queue_flow on public.flow_execution_queue (flow_id, flow_version);
