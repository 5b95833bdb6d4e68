create or replace function ehrdb.protect_tables() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    visible constant regclass := (select to_regclass(p.visible) from ehrdb.protection p);
    each_table regclass;
    protected integer := 0;
begin
    -- A partition asked directly shows nothing to anybody but the owner; asked through its parent, the parent decides.
    for each_table in
        select c.oid from pg_class c
         where c.relnamespace = 'ehrdb'::regnamespace and c.relispartition and c.relkind = 'r' and not c.relrowsecurity
    loop
        execute format('alter table %s enable row level security', each_table);
    end loop;
    if not exists (select from ehrdb.protection) then
        return 0;
    elsif visible is null then
        raise exception using errcode = 'EH010',
            message = format('%s, which decides who is seen, is not there under that name: new tables would be open',
                             (select p.visible from ehrdb.protection p)),
            hint = 'Say what it is called now: select ehr.protect(''site.visible''); or select ehr.unprotect();';
    end if;
    for each_table in
        select c.oid
          from pg_class c
         where (c.oid = 'ehrdb.embedding'::regclass or c.oid in (select ehrdb.patient_tables()))
           and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'visible' and c.relrowsecurity)
         order by c.relname
    loop
        -- A vector belongs to whoever shows it: it is seen where a point of a visible patient is.
        if exists (select from pg_policy p where p.polrelid = each_table and p.polname = 'visible') then
            execute format('drop policy visible on %s', each_table);  -- its row-level security was switched off
        end if;
        execute format('create policy visible on %s using (exists (select from %s))', each_table,
            case when each_table = 'ehrdb.embedding'::regclass
                 then 'ehrdb.embedding_point p where p.encoder_id = embedding.encoder_id'
                      ' and p.content_sha256 = embedding.content_sha256'
                 else format('%s v where v.patient_id = %I.patient_id', visible,
                             (select c.relname from pg_class c where c.oid = each_table)) end);
        execute format('alter table %s enable row level security', each_table);
        protected := protected + 1;
    end loop;
    return protected;
end
$$;

comment on function ehrdb.protect_tables() is
'Puts the policy of ehr.protect on every table that holds a patient id or a vector, on new ones as well, and closes
partitions that are asked directly. Part of every upgrade. Returns how many tables are protected.';
