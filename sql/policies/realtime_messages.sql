-- Let in: a user, hearing broadcasts on `user:<their id>`; those with the permission ops.listen, hearing `ops`.
-- Denied: every other topic, `flowstate:queue` included; presence; sending, to all but the service role.
drop policy if exists "users hear their own channel" on realtime.messages;
create policy "users hear their own channel" on realtime.messages
for select to authenticated using (
    (select realtime.topic()) = 'user:' || (select auth.uid())::text
    and extension = 'broadcast'
);
drop policy if exists "operators hear ops" on realtime.messages;
create policy "operators hear ops" on realtime.messages
for select to authenticated using (
    (select realtime.topic()) = 'ops'
    and extension = 'broadcast'
    and (select public.has_permission('ops.listen'))
);
