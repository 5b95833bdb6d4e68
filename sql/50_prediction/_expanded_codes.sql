create or replace function ehrdb.expanded_codes(codes text[]) returns setof integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive reached (code_id) as (
        select c.code_id from ehrdb.concept c where c.code = any (codes)
        union
        select cp.child_id from reached r join ehrdb.concept_parent cp on cp.parent_id = r.code_id
    )
    select code_id from reached;
end;

comment on function ehrdb.expanded_codes(text[]) is
'Keys of these codes and all their descendants; unknown codes are ignored, as in FEMR.';
