create or replace function ehrdb.are_parallel(patients_a bigint[], patients_b bigint[]) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(patients_a) = cardinality(patients_b) then
        return true;
    end if;
    raise exception using errcode = 'EH007',
        message = format('%s patients cannot be compared with %s, one by one', cardinality(patients_a), cardinality(patients_b)),
        hint = 'Give as many of the second as of the first: position by position they are compared.';
end
$$;

comment on function ehrdb.are_parallel(bigint[], bigint[]) is 'True for lists of one length; EH007 otherwise.';
