create or replace function ehrdb.purge_patients(gone bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    orphan record;
begin
    if cardinality(gone) = 0 then
        return;
    end if;
    -- Not while a refresh plans: both rewrite the same points, in different order.
    perform ehrdb.wait_to_plan();
    create temp table orphan on commit drop as
    select distinct p.encoder_id, p.content_sha256 from ehrdb.embedding_point p where p.patient_id = any (gone);
    delete from ehrdb.embedding_point p where p.patient_id = any (gone);
    delete from ehrdb.patient_embedding s where s.patient_id = any (gone);
    delete from ehrdb.embedding_job j where j.patient_id = any (gone);
    for orphan in
        select o.encoder_id, array_agg(o.content_sha256) as contents from pg_temp.orphan o group by o.encoder_id
    loop
        perform ehrdb.drop_unused(orphan.encoder_id, orphan.contents);
        perform ehrdb.queue_lost(orphan.encoder_id, orphan.contents);
    end loop;
    drop table pg_temp.orphan;
    delete from ehrdb.label l where l.patient_id = any (gone);
    delete from ehrdb.index_date i where i.patient_id = any (gone);
    delete from ehrdb.patient_prediction s where s.patient_id = any (gone);
    delete from ehrdb.risk_reason r where r.patient_id = any (gone);
    delete from ehrdb.source_patient k where k.patient_id = any (gone);
    delete from ehrdb.radiology_report r where r.patient_id = any (gone);
    delete from ehrdb.event e where e.patient_id = any (gone);
    delete from ehrdb.patient p where p.patient_id = any (gone);
    delete from ehrdb.changed_patient c where c.patient_id = any (gone);
    -- How far a plan has come is an id as well.
    update ehrdb.plan_progress g
       set planned_to = coalesce((select max(p.patient_id) from ehrdb.patient p where p.patient_id < g.planned_to),
                                 '-9223372036854775808')
     where g.planned_to = any (gone);
    perform ehrdb.count_concepts();
end
$$;

comment on function ehrdb.purge_patients(bigint[]) is
'Removes everything of these patients: events, labels, points, jobs, vectors that no other patient shows, and what they added to
the counts of concepts.';
