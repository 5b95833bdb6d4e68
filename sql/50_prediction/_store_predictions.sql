create or replace function ehrdb.store_predictions(
    tasks text[], encoder text, out heads bigint, out predicted bigint, out written bigint, out removed bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
    for_encoder_id constant integer := ehrdb.encoder_id($2);
    wanted constant text[] := coalesce($1, array(select h.target from ehrdb.head h where h.encoder_id = for_encoder_id));
begin
    heads := cardinality(wanted);
    predicted := 0;
    written := 0;
    removed := 0;
    if heads = 0 then
        return;
    end if;
    perform ehrdb.hold_patients();
    create temp table predicted_now on commit drop as
    select h.head_id, p.patient_id, p.probability, p.known_until as as_of
      from ehr.predict_cohort(wanted, encoder => $2) p
      join ehrdb.head h on h.target = p.task and h.encoder_id = for_encoder_id;
    get diagnostics predicted = row_count;

    insert into ehrdb.patient_prediction as kept (head_id, patient_id, probability, as_of)
    select n.head_id, n.patient_id, n.probability, n.as_of from pg_temp.predicted_now n
        on conflict (head_id, patient_id) do update
       set probability = excluded.probability, as_of = excluded.as_of, predicted_at = now()
     where (kept.probability, kept.as_of) is distinct from (excluded.probability, excluded.as_of);
    get diagnostics written = row_count;

    delete from ehrdb.patient_prediction s
     using ehrdb.head h
     where h.head_id = s.head_id and h.encoder_id = for_encoder_id and h.target = any (wanted)
       and not exists (select from pg_temp.predicted_now n where (n.head_id, n.patient_id) = (s.head_id, s.patient_id));
    get diagnostics removed = row_count;
    drop table pg_temp.predicted_now;
end
$$;

comment on function ehrdb.store_predictions(text[], text) is
'Keeps what ehr.predict_cohort says of these tasks (null: all that have heads) in ehr.prediction: only rows that
differ are written, those of patients who have no vector any more are removed.';
