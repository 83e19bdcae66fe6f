-- Wake-ups are Realtime broadcasts. A lost one costs a poll interval, so they may be throttled freely.

create or replace function private.wake_workers() returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- One broadcast per 20 ms: who finds the row taken or fresh leaves it to the one that has it.
  update private.wake_ups w
     set woken_at = clock_timestamp()
    from (select 1 from private.wake_ups
           where woken_at < clock_timestamp() - interval '20 milliseconds'
             for no key update skip locked) due
   where w.id;
  if found then
    perform realtime.send('{}'::jsonb, 'wake', 'flowstate:queue', true);
  end if;
end
$$;
comment on function private.wake_workers() is 'Tells workers that there is work; at most one broadcast per 20 ms.';

revoke execute on function private.wake_workers() from public;
