create or replace view ehrdb.loaded_source with (security_invoker = true) as
select f.source, sum(f.patients)::bigint as patients, sum(f.events)::bigint as events,
       (select max(r.loaded_at) from ehrdb.load_report r where r.source = f.source) as loaded_at
  from ehrdb.figure f
 where f.source is not null and not row_security_active('ehrdb.patient')
 group by f.source
having sum(f.patients) > 0
union all
select p.source, count(*), sum((select count(*) from ehrdb.event e where e.patient_id = p.patient_id))::bigint,
       max(p.loaded_at)
  from ehrdb.patient p
 where row_security_active('ehrdb.patient')
 group by p.source;

comment on view ehrdb.loaded_source is
'What each source has brought: patients, events, and when it was last loaded. Kept figures; under row-level security
counted among the patients whom the reader sees.';
