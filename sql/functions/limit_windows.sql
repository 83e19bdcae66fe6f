-- Sliding windows over rate_limit_tracking. The rows are the truth; the counts beside them save reading them again.

create or replace function private.count_since(
  user_id uuid, flow_id uuid, since timestamptz, counted_from timestamptz, counted bigint
) returns bigint
language plpgsql
stable
set search_path = ''
as $$
declare
  v_from timestamptz := counted_from;
  v_to timestamptz := since;
  v_between bigint;
begin
  -- The count is moved from one horizon to the other. Over more than a day it is made anew: what is that old may have
  -- been dropped with its partition.
  if v_from is null or v_from not between since - interval '1 day' and since + interval '1 day' then
    v_from := since;
    v_to := 'infinity';
  end if;
  if count_since.flow_id is null then
    select count(*) into v_between from public.rate_limit_tracking t
     where t.user_id = count_since.user_id
       and t.accepted_at > least(v_from, v_to) and t.accepted_at <= greatest(v_from, v_to);
  else
    select count(*) into v_between from public.rate_limit_tracking t
     where t.flow_id = count_since.flow_id
       and t.accepted_at > least(v_from, v_to) and t.accepted_at <= greatest(v_from, v_to);
  end if;
  return case when v_to = 'infinity' then v_between
              when v_to > v_from then counted - v_between
              else counted + v_between end;
end
$$;
comment on function private.count_since(uuid, uuid, timestamptz, timestamptz, bigint) is
'How many executions of a user (or of a flow with limits) were accepted after a moment, from the count after another one.';

create or replace function private.closed_spans(
  user_id uuid, flow_id uuid, since timestamptz, counted bigint, most integer, seconds integer
) returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
declare
  v_window constant interval := make_interval(secs => seconds);
  v_runs constant bigint := counted - most + 1;
  v_firsts timestamptz[];
  v_lasts timestamptz[];
begin
  -- Every run of `most` acceptances that fits into one window closes the time in which one more would overflow it: from
  -- the window's length before its last to the window's length after its first. There are as many runs as acceptances
  -- that are too many, so both ends of the row of acceptances are read, and not what lies between.
  if closed_spans.flow_id is null then
    v_firsts := array(select t.accepted_at from public.rate_limit_tracking t
                       where t.user_id = closed_spans.user_id and t.accepted_at > since
                       order by t.accepted_at limit v_runs);
    v_lasts := array(select t.accepted_at from public.rate_limit_tracking t
                      where t.user_id = closed_spans.user_id and t.accepted_at > since
                      order by t.accepted_at desc limit v_runs);
  else
    v_firsts := array(select t.accepted_at from public.rate_limit_tracking t
                       where t.flow_id = closed_spans.flow_id and t.accepted_at > since
                       order by t.accepted_at limit v_runs);
    v_lasts := array(select t.accepted_at from public.rate_limit_tracking t
                      where t.flow_id = closed_spans.flow_id and t.accepted_at > since
                      order by t.accepted_at desc limit v_runs);
  end if;
  return (select coalesce(range_agg(tstzrange(r.last - v_window, r.first + v_window, '()')), '{}')
            from (select v_firsts[n] as first, v_lasts[v_runs + 1 - n] as last from generate_series(1, v_runs) n) r
           where r.last - r.first < v_window);
end
$$;
comment on function private.closed_spans(uuid, uuid, timestamptz, bigint, integer, integer) is
'When one more acceptance would overflow a window, as far as acceptances after `since` (of which there are `counted`) decide.';

create or replace function private.opens_at(spans tstzmultirange, moment timestamptz) returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- The spans are open intervals that do not touch: the end of one is free.
  return (select upper(s.span) from unnest(spans) s(span) where s.span @> moment);
end
$$;
comment on function private.opens_at(tstzmultirange, timestamptz) is 'The end of the closed span that a moment lies in; null: it lies in none.';

create or replace function private.forget_counts() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform 1 from private.user_queue q where q.user_id in (select c.user_id from changed c) order by q.user_id for update;
  update private.user_queue q set hour_from = null, day_from = null, month_from = null, full_until = null
   where q.user_id in (select c.user_id from changed c);
  update private.flow_windows w set burst_from = null, hour_from = null, day_from = null
   where w.flow_id in (select c.flow_id from changed c);
  return null;
end
$$;
comment on function private.forget_counts() is 'Trigger: where acceptances change or go, what was counted of them is counted anew.';

create or replace trigger forget_counts_of_deleted after delete on public.rate_limit_tracking
referencing old table as changed for each statement execute function private.forget_counts();
create or replace trigger forget_counts_of_changed after update on public.rate_limit_tracking
referencing old table as changed for each statement execute function private.forget_counts();

revoke execute on function private.count_since(uuid, uuid, timestamptz, timestamptz, bigint) from public;
revoke execute on function private.closed_spans(uuid, uuid, timestamptz, bigint, integer, integer) from public;
revoke execute on function private.opens_at(tstzmultirange, timestamptz) from public;
revoke execute on function private.forget_counts() from public;
