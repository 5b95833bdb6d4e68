create or replace function ehr.current_timelines(
    format text default 'list_recent', patient_ids bigint[] default null
) returns table (patient_id bigint, text text, text_sha256 bytea, last_event_time timestamp)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform ehrdb.note('current_timelines', cohort => $2);
    perform ehrdb.is_cohort($2, may_be_unknown => true);
    if $1 = 'list_recent' and $2 is null then
        return query select * from ehr.current_timeline;
    elsif $1 = 'list_recent' then
        return query select * from ehr.current_timeline c where c.patient_id = any ($2);
    else
        return query
        select t.patient_id, t.text, sha256(convert_to(t.text, 'UTF8')), t.as_of
          from (select coalesce($2, array_agg(p.patient_id)) as ids from ehrdb.patient p) wanted
         cross join lateral ehr.timelines(
             wanted.ids, array_fill('infinity'::timestamp, array[cardinality(wanted.ids)]), $1) t
         where t.as_of < 'infinity';
    end if;
end
$$;

comment on function ehr.current_timelines(text, bigint[]) is
'Current texts in any format, of these patients (null: all); patients without events have no row.
Example: select patient_id, length(text) from ehr.current_timelines(''markdown'');';
