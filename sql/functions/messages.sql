-- What a caller wrote, in a message to them.

create or replace function private.plain(value text, most integer) returns text
language sql
immutable
set search_path = ''
as $$
  select left(regexp_replace(value, '[[:cntrl:]]', '?', 'g'), most)
$$;
comment on function private.plain(text, integer) is
'The beginning of a text without control characters. The API puts a refusal''s message into the first line of its answer, so a line break in it would let a caller write the lines after it.';

revoke execute on function private.plain(text, integer) from public;
