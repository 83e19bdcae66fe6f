-- Claiming: which users, which of their executions, on which instances. The cost follows the batch, not the backlog.

create or replace function private.promote_due(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_due uuid[];
  v_promoted integer;
begin
  -- Chosen once: what becomes due meanwhile belongs to users that are not held here.
  select array_agg(due.id) into v_due from (
    select q.id from public.flow_execution_queue q
     where q.state = 'scheduled' and q.run_at <= clock_timestamp()
     order by q.run_at limit most) due;
  -- Users first, in order, as everywhere; then their due rows.
  perform 1 from private.user_queue u
    where u.user_id in (select q.user_id from public.flow_execution_queue q where q.id = any (v_due))
    order by u.user_id for update;
  with promoted as (
    update public.flow_execution_queue q set state = 'available'
     where q.id = any (v_due) and q.state = 'scheduled' returning q.user_id
  ),
  counted as (
    update private.user_queue u
       set available = u.available + n.n,
           virtual_time = case when u.available = 0 and u.running = 0
                               then greatest(u.virtual_time, s.virtual_time) else u.virtual_time end
      from (select p.user_id, count(*) as n from promoted p group by p.user_id) n
     cross join private.queue_state s
     where u.user_id = n.user_id
  )
  select count(*) into v_promoted from promoted;
  return v_promoted;
end
$$;
comment on function private.promote_due(integer) is 'Makes scheduled executions available once their moment has come.';

create or replace function private.free_slots(most integer)
returns table (n integer, instance_id uuid, owner text, nth_of_instance integer, spare boolean)
language sql
volatile
set search_path = ''
as $$
  with running as materialized (
    -- Counts are derived from the running rows, so that a crash can never leak a slot.
    select q.instance_id, count(*)::integer as n
      from public.flow_execution_queue q where q.state = 'running' group by q.instance_id
  ),
  open_instances as (
    select i.id, i.owner, i.weight, coalesce(r.n, 0) as in_flight, i.max_in_flight - coalesce(r.n, 0) as free
      from public.apps_script_instances i
      left join running r on r.instance_id = i.id
     where i.state = 'active' and i.kind = 'apps_script'
       and (i.breaker_state = 'closed'
            or (i.breaker_state = 'half_open' and coalesce(r.n, 0) = 0))
  ),
  owners as (
    select o.owner,
           o.max_in_flight - coalesce((select sum(r.n) from public.apps_script_instances i
                                         join running r on r.instance_id = i.id
                                        where i.owner = o.owner), 0)::integer as free
      from public.apps_script_owners o
     where o.set_aside_until is null or o.set_aside_until <= clock_timestamp()
  ),
  per_instance as (
    -- The k-th free slot of an instance stands at (calls in flight + k) / weight: the least loaded comes first.
    select i.id, i.owner, k.k, (i.in_flight + k.k)::double precision / i.weight as load, random() as tie
      from open_instances i
      join owners o on o.owner = i.owner
     cross join lateral generate_series(1, least(i.free, o.free, most)) k(k)
  ),
  per_owner as (
    select p.*, row_number() over (partition by p.owner order by p.load, p.tie) as nth_of_owner from per_instance p
  ),
  ranked as (
    select row_number() over (order by p.load, p.tie)::integer as n, p.id, p.owner, p.k
      from per_owner p
      join owners o on o.owner = p.owner and p.nth_of_owner <= o.free
  ),
  room as (
    select least(most, c.global_max_in_flight - (select coalesce(sum(r.n), 0)::integer from running r)) as n
      from public.load_balancer_config c
  )
  -- Spare is the first slot of an instance that has none among the others: for what has to run there, or not elsewhere.
  select r.n, r.id, r.owner, r.k, r.n > room.n
    from ranked r cross join room
   where room.n > 0 and (r.n <= room.n or r.k = 1)
   order by r.n
$$;
comment on function private.free_slots(integer) is
'Free slots within the global, the owners'' and the instances'' limits, least loaded first; a spare one may only replace another. Exact under the lock of the claim only.';

create or replace function private.choose_executions(processor_id text, most integer, lease_seconds integer)
returns table (execution_id uuid)
language sql
volatile
set search_path = ''
as $$
  with slots as materialized (
    select * from private.free_slots(most)
  ),
  open_instances as materialized (
    select array_agg(distinct s.instance_id) as ids, count(*) filter (where not s.spare) as slots from slots s
  ),
  users as materialized (
    -- The users who received least, below their running limit. A locked one is being served by another statement.
    select u.user_id, u.weight, u.virtual_time, least(u.max_running - u.running, u.available) as room
      from private.user_queue u
     where u.claimable
       and (u.blocked_until is null or u.blocked_until <= clock_timestamp())
       -- Who only waits for instances that are away would hold up the others. The limit keeps it a look at the head.
       and (select true from public.flow_execution_queue q
             where q.user_id = u.user_id and q.state = 'available'
               and (q.pinned_instance_id is null
                    or q.pinned_instance_id = any ((select o.ids from open_instances o)::uuid[]))
             limit 1)
     order by u.virtual_time
     limit (select o.slots from open_instances o)
       for update skip locked
  ),
  heads as (
    -- The head of each user's own order. The n-th of a user stands n / weight further on the virtual clock.
    -- No row locks here: whatever changes an available row holds the row of its user, which is held above.
    select h.*, u.virtual_time + h.nth::double precision / u.weight as virtual_time
      from users u
     cross join open_instances o
     cross join lateral (
       select l.*, row_number() over (order by l.priority desc, l.run_at, l.id) as nth
         from (select q.id, q.priority, q.run_at, q.pinned_instance_id, q.avoided_instance_id, q.avoided_owner
                 from public.flow_execution_queue q
                where q.user_id = u.user_id and q.state = 'available'
                  and (q.pinned_instance_id is null or q.pinned_instance_id = any (o.ids))
                order by q.priority desc, q.run_at, q.id
                limit u.room) l) h
  ),
  chosen as (
    select h.* from heads h order by h.virtual_time limit (select o.slots from open_instances o)
  ),
  pinned as (
    -- First those that may only run where they may have run before.
    select c.id, s.n, s.instance_id
      from (select c.id, c.pinned_instance_id,
                   row_number() over (partition by c.pinned_instance_id order by c.virtual_time) as nth
              from chosen c where c.pinned_instance_id is not null) c
      join slots s on s.instance_id = c.pinned_instance_id and s.nth_of_instance = c.nth
  ),
  avoiding as (
    select c.id, c.virtual_time, c.avoided_instance_id, c.avoided_owner,
           row_number() over (partition by c.avoided_instance_id, c.avoided_owner order by c.virtual_time) as nth
      from chosen c
     where c.pinned_instance_id is null and (c.avoided_instance_id is not null or c.avoided_owner is not null)
  ),
  alternatives as materialized (
    -- For each instance or owner that is avoided: the slots elsewhere.
    select a.avoided_instance_id, a.avoided_owner, s.n, s.instance_id,
           row_number() over (partition by a.avoided_instance_id, a.avoided_owner order by s.n) as nth
      from (select distinct v.avoided_instance_id, v.avoided_owner from avoiding v) a
      join slots s on s.instance_id is distinct from a.avoided_instance_id and s.owner is distinct from a.avoided_owner
     where s.n not in (select p.n from pinned p)
  ),
  elsewhere as (
    -- Two that avoid different things may come to one slot: one of them waits for the next claim.
    select distinct on (l.n) a.id, l.n, l.instance_id
      from avoiding a
      join alternatives l
        on l.nth = a.nth and l.avoided_instance_id is not distinct from a.avoided_instance_id
       and l.avoided_owner is not distinct from a.avoided_owner
     order by l.n, a.virtual_time
  ),
  free as (
    -- All others in turn, and what avoids the only place there is.
    select c.id, row_number() over (order by c.virtual_time) as turn
      from chosen c
     where c.pinned_instance_id is null
       and not exists (select 1 from alternatives l
                        where l.avoided_instance_id is not distinct from c.avoided_instance_id
                          and l.avoided_owner is not distinct from c.avoided_owner)
  ),
  open_slots as (
    select s.instance_id, row_number() over (order by s.n) as turn
      from slots s
     where not s.spare and s.n not in (select p.n from pinned p union all select e.n from elsewhere e)
  ),
  placed as (
    select p.id, p.instance_id from pinned p
    union all
    select e.id, e.instance_id from elsewhere e
    union all
    select f.id, s.instance_id from free f join open_slots s on s.turn = f.turn
  ),
  claimed as (
    update public.flow_execution_queue q
       set state = 'running', attempt = q.attempt + 1, instance_id = p.instance_id,
           processor_id = choose_executions.processor_id,
           started_at = clock_timestamp(), lease_token = gen_random_uuid(),
           lease_expires_at = clock_timestamp() + make_interval(secs => choose_executions.lease_seconds)
      from placed p
     where q.id = p.id
    returning q.id, q.user_id
  ),
  charged as (
    update private.user_queue u
       set running = u.running + n.n, available = u.available - n.n,
           virtual_time = u.virtual_time + n.n::double precision / u.weight
      from (select c.user_id, count(*)::integer as n from claimed c group by c.user_id) n
     where u.user_id = n.user_id
    returning u.virtual_time - n.n::double precision / u.weight as served_from
  ),
  clock as (
    -- The clock stands where the least served of this batch stood; newcomers start there.
    update private.queue_state s
       set virtual_time = greatest(s.virtual_time, (select min(c.served_from) from charged c))
     where exists (select 1 from charged)
  )
  select c.id from claimed c
$$;
comment on function private.choose_executions(text, integer, integer) is
'Picks, places and leases up to so many executions. Only under the lock of the claim.';

create or replace function public.claim_flow_executions(processor_id text, max integer, lease_seconds integer)
returns table (
  execution_id uuid, attempt integer, max_attempts integer, lease_token uuid, lease_expires_at timestamptz,
  user_id uuid, tier text, flow_id uuid, flow_name text, flow_kind text, steps jsonb, input jsonb,
  deadline_seconds integer, queued_at timestamptz, instance_id uuid, instance_name text, instance_url text,
  instance_key_id text, instance_owner text, resume boolean
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_chosen uuid[];
begin
  if claim_flow_executions.processor_id is null or length(claim_flow_executions.processor_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif claim_flow_executions.max is null or claim_flow_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', claim_flow_executions.max);
  elsif claim_flow_executions.lease_seconds is null or claim_flow_executions.lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using
      message = format('lease_seconds must be an integer from 1 to 3600, not %s', claim_flow_executions.lease_seconds);
  end if;

  -- An empty queue costs these two index probes.
  if exists (select 1 from public.flow_execution_queue q where q.state = 'scheduled' and q.run_at <= clock_timestamp()) then
    perform private.promote_due(1000);
  end if;
  if not exists (select 1 from private.user_queue u where u.claimable) then
    return;
  end if;
  if exists (select 1 from public.load_balancer_config c where c.paused_at is not null) then
    return;
  end if;

  -- One claim at a time: limits are exact because nobody else adds running rows meanwhile.
  perform pg_advisory_xact_lock(7305151, 1);
  select array_agg(c.execution_id) into v_chosen
    from private.choose_executions(claim_flow_executions.processor_id, claim_flow_executions.max, claim_flow_executions.lease_seconds) c;
  if v_chosen is null then
    return;
  end if;
  insert into public.queue_processors as p (id) values (claim_flow_executions.processor_id)
  on conflict (id) do nothing;

  return query
  select q.id, q.attempt, q.max_attempts, q.lease_token, q.lease_expires_at, q.user_id, u.tier, q.flow_id, f.name, f.kind,
         v.definition -> 'steps', q.input, f.deadline_seconds, q.queued_at,
         i.id, i.name, i.url, i.key_id, i.owner, q.pinned_instance_id is not null
    from public.flow_execution_queue q
    join private.user_queue u on u.user_id = q.user_id
    join public.flows f on f.id = q.flow_id
    join public.flow_versions v on v.flow_id = q.flow_id and v.version = q.flow_version
    join public.apps_script_instances i on i.id = q.instance_id
   where q.id = any (v_chosen);
end
$$;
comment on function public.claim_flow_executions(text, integer, integer) is
'Leases up to max executions to a processor, each with an instance that has a free slot. Service role only.';

revoke execute on function private.promote_due(integer) from public;
revoke execute on function private.free_slots(integer) from public;
revoke execute on function private.choose_executions(text, integer, integer) from public;
revoke execute on function public.claim_flow_executions(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.claim_flow_executions(text, integer, integer) to service_role;
