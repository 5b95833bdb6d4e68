create or replace function ehrdb.record(
    what text, patients bigint[] default null, cohort_size bigint default null
) returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    insert into ehrdb.audit (what, patients, cohort_size) values (left(what, 1000), patients, cohort_size);
end;

comment on function ehrdb.record(text, bigint[], bigint) is
'Adds a row to the audit, in the name of whoever is logged in; of what was asked, 1,000 characters.';
