create or replace function ehrdb.require_points(patient_ids bigint[], as_ofs timestamp[], max_chars integer) returns void
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if array_ndims(patient_ids) > 1 or array_ndims(as_ofs) > 1 then
        raise exception using errcode = 'EH007', message = 'patients and moments are lists, not tables',
            hint = 'For example: ehr.timelines(array[1, 2], array[''2020-01-01'', ''infinity'']::timestamp[])';
    elsif patient_ids is null or cardinality(patient_ids) is distinct from cardinality(as_ofs)
       or array_position(patient_ids, null) is not null or array_position(as_ofs, null) is not null then
        raise exception using errcode = 'EH007', message = 'every patient needs a moment, and every moment a patient',
            hint = 'Give one moment, not null, for each patient; infinity stands for the last event.';
    elsif max_chars < 1 then
        raise exception using errcode = 'EH007', message = 'max_chars must be positive',
            hint = 'Leave max_chars out for the whole text.';
    end if;
    perform ehrdb.is_moment(coalesce(t.earliest, 'infinity')), ehrdb.is_moment(coalesce(t.latest, 'infinity'))
       from (select min(t) as earliest, max(t) as latest from unnest(as_ofs) t where isfinite(t)) t;
end
$$;

comment on function ehrdb.require_points(bigint[], timestamp[], integer) is
'EH007 for arguments that do not fit together, EH010 for years that no record has.';
