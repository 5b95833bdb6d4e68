create or replace function ehrdb.take_answer(request_id bigint, out embedding public.vector, out error text)
returns record
language sql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    delete from ehrdb.search_request r
     where r.request_id = $1 and (r.embedding is not null or r.error is not null)
    returning r.embedding, r.error
$$;

comment on function ehrdb.take_answer(bigint) is
'The worker''s answer, once; nulls while there is none. The request goes with it.';
