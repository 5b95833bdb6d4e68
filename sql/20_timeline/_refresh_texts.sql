create or replace function ehrdb.refresh_texts(code_ids integer[] default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- an array that the planner knows is looked up by its hash
as $$
begin
    with wanted as materialized (
        select d.code_id, d.text, d.is_birth
          from ehrdb.defined_text d
         where code_ids is null or d.code_id = any (code_ids)
    ), gone as (
        delete from ehrdb.concept_text t
         where (code_ids is null or t.code_id = any (code_ids))
           and not exists (select from wanted w where w.code_id = t.code_id)
    )
    insert into ehrdb.concept_text as t (code_id, text, is_birth)
    select w.code_id, w.text, w.is_birth from wanted w
        on conflict (code_id) do update set text = excluded.text, is_birth = excluded.is_birth
     where (t.text, t.is_birth) is distinct from (excluded.text, excluded.is_birth);
end
$$;

comment on function ehrdb.refresh_texts(integer[]) is
'Brings the kept texts of these concepts (null: all) in line with ehrdb.defined_text; only what differs is written.';
