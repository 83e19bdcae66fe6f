-- Realtime: a user listens on their own channel `user:<id>`; nobody but the service sends, and only it hears `flowstate:queue`.
drop policy if exists "users hear their own channel" on realtime.messages;
create policy "users hear their own channel" on realtime.messages
for select to authenticated using (
    (select realtime.topic()) = 'user:' || (select auth.uid())::text
    and extension = 'broadcast'
);
