create or replace function ehrdb.are_pairs(patient_ids bigint[], as_ofs timestamp[]) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ehrdb.require_points(patient_ids, as_ofs, null);
    return true;
end
$$;

comment on function ehrdb.are_pairs(bigint[], timestamp[]) is
'True for parallel lists of patients and moments; EH007 where one has no other, EH010 for years that no record has.';
