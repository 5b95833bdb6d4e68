create or replace function ehrdb.plan_refresh(out patients integer, out queued integer)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    changed bigint[];
    missing bigint[];
    each_encoder_id integer;
begin
    perform ehrdb.wait_to_plan();
    with taken as (delete from ehrdb.changed_patient returning patient_id)
    select coalesce(array_agg(distinct patient_id), '{}') into changed from taken;
    patients := cardinality(changed);
    queued := 0;

    for each_encoder_id in select encoder_id from ehrdb.encoder where kind = 'model' order by encoder_id loop
        missing := array(
            select p.patient_id
              from ehrdb.patient p
             where not p.patient_id = any (changed)
               and exists (select from ehrdb.encoder_prompt ep
                            where ep.encoder_id = each_encoder_id
                              and not exists (select from ehrdb.embedding_point n
                                               where n.encoder_id = ep.encoder_id
                                                 and n.prompt_id = ep.prompt_id
                                                 and n.patient_id = p.patient_id
                                                 and n.is_current)));
        if changed || missing <> '{}' then
            queued := queued + ehrdb.plan_current(each_encoder_id, changed || missing);
            queued := queued + ehrdb.plan_past(each_encoder_id, changed);
        end if;
        queued := queued + ehrdb.queue_lost(each_encoder_id);
        patients := greatest(patients, cardinality(changed || missing));
    end loop;

    if changed <> '{}' then
        perform ehrdb.drop_unused();
        perform ehrdb.count_concepts();
    end if;
end
$$;

comment on function ehrdb.plan_refresh() is
'Decides what is stale: compares texts of changed patients, and of those without a vector, with what was
embedded. Returns patients looked at and contents queued. Safe to run at any time, by anyone, at once.';
