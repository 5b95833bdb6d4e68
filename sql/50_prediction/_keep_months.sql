create or replace function ehrdb.keep_months(tasks text[], encoder text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    delete from ehrdb.head_month m using ehrdb.head h
     where h.head_id = m.head_id and h.encoder_id = ehrdb.encoder_id($2) and h.target = any ($1);
    insert into ehrdb.head_month (head_id, month, labels, patients, predicted, observed, population_stability,
                                  unknown_codes, verdict)
    select m.head_id, m.month, m.labels, m.patients, m.predicted, m.observed, m.population_stability, m.unknown_codes,
           m.verdict
      from ehr.monitor($1, $2) m;
end
$$;

comment on function ehrdb.keep_months(text[], text) is
'Keeps what ehr.monitor says of these tasks'' heads, in the place of what was kept before.';
