create or replace function ehrdb.keep_reasons(
    head_id integer, patient_id bigint, content bytea, as_of timestamp, most_lines integer, reasons jsonb
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- A reader's own finding is shown and forgotten: what is kept, others believe.
    if not has_table_privilege('ehrdb.risk_reason', 'insert') then
        return false;
    end if;
    perform ehrdb.hold_patients();
    insert into ehrdb.risk_reason as r (head_id, patient_id, content_sha256, as_of, most_lines, reasons)
    select keep_reasons.head_id, p.patient_id, keep_reasons.content, keep_reasons.as_of, keep_reasons.most_lines,
           keep_reasons.reasons
      from ehrdb.patient p where p.patient_id = keep_reasons.patient_id  -- who was purged since has none
    on conflict on constraint risk_reason_pkey do update
       set as_of = excluded.as_of, most_lines = excluded.most_lines, reasons = excluded.reasons, made_at = now();
    return found;
end
$$;

comment on function ehrdb.keep_reasons(integer, bigint, bytea, timestamp, integer, jsonb) is
'Keeps what leaving parts of a text out changed, for a head and a content; false where this
role may not, or the patient was purged while it was found.';
