-- name: digest_patients
-- one digest of all that a source has of a patient; 1 and 1.0 are one patient. Rows may stand in any order.
insert into pg_temp.patient_digest
select patient_id, sha256(convert_to(string_agg(concat_ws(':', name, rows, digest), ',' order by name), 'UTF8'))
  from (select name, ehrdb.to_bigint(person_id) as patient_id, sum(rows) as rows, sum(digest) as digest
          from ({digests}) raw group by 1, 2) tables
 group by patient_id;
analyze pg_temp.patient_digest;

-- name: digest_rules
-- and one of what all patients are read by
select sha256(convert_to(concat_ws('|', %(settings)s::text,
                                   (select string_agg(code, ',' order by code) from ehrdb.icu_care_site),
                                   string_agg(concat_ws(':', name, rows, digest), ',' order by name)), 'UTF8'))
  from ({tables}) t;

-- name: set_rules
update pg_temp.this_load set rules = %(rules)s;

-- name: find_changed
-- patients who are new, whose rows differ, or who have none any more, whether or not a digest of theirs is kept
update pg_temp.this_load l
   set is_partial = not l.is_whole
       and exists (select from ehrdb.source s where s.source = l.source and s.rules = l.rules)
       and not exists (select from pg_temp.patient_digest d where d.patient_id is null);
insert into pg_temp.read_patient (patient_id)
select coalesce(d.patient_id, p.patient_id)
  from pg_temp.patient_digest d
  full join (select p.patient_id, k.digest
               from pg_temp.this_load l
               join ehrdb.patient p on p.source = l.source and p.patient_id between l.low and l.high
               left join ehrdb.source_patient k on k.patient_id = p.patient_id and k.source = p.source) p using (patient_id)
 where (select is_partial from pg_temp.this_load) and (d.patient_id is null or d.digest is distinct from p.digest);
analyze pg_temp.read_patient;

-- name: is_partial
select is_partial from pg_temp.this_load;

-- name: to_read
-- whoever is to be read
select patient_id from pg_temp.read_patient;

-- name: any_changed
select from pg_temp.read_patient limit 1;

-- name: count_unread
-- patients of the source whom this load had no need to read
select count(*)
  from pg_temp.this_load l
  join ehrdb.patient p on p.source = l.source and p.patient_id between l.low and l.high
 where l.is_partial and not exists (select from pg_temp.read_patient r where r.patient_id = p.patient_id);

-- name: digest_of_portion
-- of its patients' digests; where those do not stand for the rows, of the events and demographics too
select sha256(convert_to(concat_ws('|', digests, case when %(with_rows)s then events end,
                                        case when %(with_rows)s then patients end), 'UTF8'))
  from (select concat_ws(':', count(*), sum(hash_record_extended(d, 1))) from pg_temp.patient_digest d) as a (digests),
       (select concat_ws(':', count(*), sum(hash_record_extended(e, 1))) from pg_temp.event_staging e) as b (events),
       (select concat_ws(':', count(*), sum(hash_record_extended(p, 1))) from pg_temp.patient_staging p) as c (patients);

-- name: remember_patients
-- what differs from what is kept
delete from ehrdb.source_patient k using pg_temp.this_load l
 where k.source = l.source and k.patient_id between l.low and l.high
   and (l.rules is null or not exists (select from pg_temp.patient_digest d where d.patient_id = k.patient_id));
insert into ehrdb.source_patient as k (source, patient_id, digest)
select l.source, d.patient_id, d.digest
  from pg_temp.this_load l
 cross join pg_temp.patient_digest d
  join ehrdb.patient p on p.patient_id = d.patient_id and p.source = l.source
    on conflict (source, patient_id) do update set digest = excluded.digest where k.digest <> excluded.digest;
