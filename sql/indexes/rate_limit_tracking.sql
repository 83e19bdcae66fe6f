-- Acceptances of flows that have limits of their own.
create index if not exists rate_limit_tracking_flow on public.rate_limit_tracking
(flow_id, accepted_at) where flow_id is not null;
