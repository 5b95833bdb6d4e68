create or replace function ehrdb.take_answer(request_id uuid, out embedding public.vector, out error text)
returns record
language sql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
    delete from ehrdb.search_request r
     where r.request_id = $1 and r.asked_by = session_user and (r.embedding is not null or r.error is not null)
    returning r.embedding, r.error
$$;

comment on function ehrdb.take_answer(uuid) is
'The worker''s answer, once, for whoever asked; nulls while there is none. The request goes with it.';
