create or replace function ehrdb.repair(
    out wrong_frequencies bigint, out wrong_figures bigint, out unused bigint, out lost bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    each_encoder record;
begin
    perform ehrdb.wait_to_plan();
    wrong_frequencies := ehrdb.recount_concepts() + ehrdb.recount_onsets();
    unused := 0;
    lost := 0;
    for each_encoder in select e.encoder_id, e.kind from ehrdb.encoder e loop
        unused := unused + ehrdb.drop_unused(each_encoder.encoder_id);
        if each_encoder.kind = 'model' then
            lost := lost + ehrdb.queue_lost(each_encoder.encoder_id);
        end if;
    end loop;
    delete from ehrdb.plan_progress;  -- the next refresh looks for whom it may have missed
    wrong_figures := ehrdb.recount_figures();
    insert into ehrdb.verification as v (what, verified_at, wrong)
    values ('frequencies', now(), wrong_frequencies), ('figures', now(), wrong_figures)
        on conflict (what) do update set verified_at = excluded.verified_at, wrong = excluded.wrong;
end
$$;

comment on function ehrdb.repair() is
'Compares what is kept by difference with the data, all of it, and puts it right: counts of patients with a concept and
figures of ehr.embedding_status (how many were wrong), vectors and jobs of texts that nobody shows (dropped), texts
without vector or job (queued). For now and then: everything is read.';
