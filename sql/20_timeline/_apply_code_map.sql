create or replace function ehrdb.apply_code_map(code_ids integer[] default null) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    changed integer[];
    renamed integer[];
begin
    insert into ehrdb.concept (code, vocabulary, description)
    select distinct on (m.standard_code) m.standard_code, split_part(m.standard_code, '/', 1), m.standard_description
      from ehrdb.mapped_code m
     where m.standard_code is not null and (code_ids is null or m.code_id = any (code_ids))
       and not exists (select from ehrdb.concept c
                        where c.code = m.standard_code and (c.description is not null or m.standard_description is null))
     order by m.standard_code, m.standard_description
        on conflict (code) do update set description = excluded.description;
    with wanted as materialized (
        select distinct m.code_id as child_id, s.code_id as parent_id
          from ehrdb.mapped_code m
          join ehrdb.concept s on s.code = m.standard_code and s.code_id <> m.code_id
         where code_ids is null or m.code_id = any (code_ids)
    ), had as materialized (
        select p.child_id, p.parent_id
          from ehrdb.concept_parent p
         where '' = any (p.sources) and (code_ids is null or p.child_id = any (code_ids))
    ), gone as materialized (
        table had except table wanted
    ), dropped as (
        delete from ehrdb.concept_parent p using gone g
         where (p.child_id, p.parent_id) = (g.child_id, g.parent_id) and cardinality(p.sources) = 1
    ), kept as (
        update ehrdb.concept_parent p set sources = array_remove(p.sources, '') from gone g
         where (p.child_id, p.parent_id) = (g.child_id, g.parent_id) and cardinality(p.sources) > 1
    ), added as (
        insert into ehrdb.concept_parent as p (child_id, parent_id, sources)
        select w.child_id, w.parent_id, array[''] from wanted w
         where not exists (select from had h where (h.child_id, h.parent_id) = (w.child_id, w.parent_id))
            on conflict (child_id, parent_id) do update set sources = array_append(p.sources, '')
        returning p.child_id
    )
    select array(select a.child_id from added a union select g.child_id from gone g) into changed;
    if code_ids is not null then
        return 0;  -- nobody has a code that is new
    end if;
    renamed := array(
        select coalesce(d.code_id, t.code_id)
          from ehrdb.defined_text d
          full join ehrdb.concept_text t on t.code_id = d.code_id
         where (d.text, d.is_birth) is distinct from (t.text, t.is_birth));
    perform ehrdb.refresh_texts(renamed);
    return ehrdb.mark_coded(changed || renamed);
end
$$;

comment on function ehrdb.apply_code_map(integer[]) is
'Brings parents and names in line with ehrdb.code_map: of these codes, which are new; or (null) of all, then patients whose
texts or labels may have changed are marked. Only what differs is written. Returns how many patients are marked.';
