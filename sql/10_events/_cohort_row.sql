create or replace function ehrdb.cohort_row(cohort_definition_id integer)
returns table (subject_id bigint, cohort_start_date date, cohort_end_date date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute format(
        'select c.subject_id::bigint, c.cohort_start_date::date, c.cohort_end_date::date
           from %s c where c.cohort_definition_id = $1', ehrdb.site_table('cohort_table', 'results.cohort'))
      using cohort_definition_id;
end
$$;

comment on function ehrdb.cohort_row(integer) is
'The rows of an OMOP cohort, from the site''s cohort table (setting ehrdb.cohort_table, results.cohort unless set),
read with the rights of who asks. EH010: there is no such table.';
