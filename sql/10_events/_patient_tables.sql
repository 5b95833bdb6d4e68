create or replace function ehrdb.patient_tables() returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select c.oid::regclass
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'patient_id'
     where c.relnamespace = 'ehrdb'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
     order by c.relname;
end;

comment on function ehrdb.patient_tables() is
'Tables of ehrdb whose rows are each a patient''s; of partitioned ones, the whole.';
