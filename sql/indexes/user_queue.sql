-- Users who can be served, the least served first.
create index if not exists user_queue_claimable on private.user_queue
(virtual_time) where claimable;
