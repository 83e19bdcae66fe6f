-- Let in: nobody makes temporary objects through the API.
-- Denied: every API role, because types are looked up among temporary objects first, also where a function pins its
-- search_path to nothing: who makes them in a session could have our functions run theirs.
do $$
begin
  execute format('revoke temporary on database %I from public, anon, authenticated, service_role', current_database());
end
$$;
