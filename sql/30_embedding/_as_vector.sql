create or replace function ehrdb.as_vector(embedding public.halfvec) returns public.vector
language sql immutable parallel safe
begin atomic
    select embedding::public.vector;
end;

comment on function ehrdb.as_vector(public.halfvec) is
'A stored vector in single precision, for who does not know in which schema the extension lives. Inlined into the query that
calls it.';
