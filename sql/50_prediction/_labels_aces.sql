create or replace function ehrdb.labels_aces(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute ehrdb.aces_statement(rule);
end
$$;

comment on function ehrdb.labels_aces(jsonb) is
'A task of ACES: at each trigger whose windows hold what they must, whether the label''s predicate occurs in its window.';
