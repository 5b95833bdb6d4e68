-- name: standing
-- who asks, where, and what they may do
select current_user, current_database(), e.schema, coalesce(has_schema_privilege(e.schema, 'usage'), false),
       a.name is not null,
       r.rolsuper or coalesce((not a.superuser or a.trusted) and c.may_create, false), c.may_create,
       o.owner, coalesce(pg_has_role(o.nspowner, 'usage'), true),
       r.rolsuper or r.rolcreaterole
  from pg_roles r
 cross join (select has_database_privilege(current_database(), 'create') as may_create) c
  left join (select n.nspname as schema from pg_extension x join pg_namespace n on n.oid = x.extnamespace
              where x.extname = 'vector') e on true
  left join (select v.name, v.superuser, v.trusted
               from pg_available_extension_versions v join pg_available_extensions n on n.name = v.name
              where v.name = 'vector' and v.version = n.default_version) a on true
  left join (select nspowner, nspowner::regrole::text as owner from pg_namespace where nspname = 'ehrdb') o on true
 where r.rolname = current_user;

-- name: create_extension
-- vectors, where nobody has made them yet
create extension vector schema public;

-- name: bootstrap
-- What a superuser (or the provider's administrator role) runs once, in database {database}, so that {owner}, an
-- ordinary role, can install, upgrade, dump and restore ehrdb. Harmless when run again.

-- Vectors. The extension is not trusted: an owner may not create it. It may live in any schema.
create extension if not exists vector schema {schema};

-- Schemas ehr and ehrdb are made by `ehrdb upgrade`.
grant create on database {database} to {owner};

-- Who reads, who embeds, who administers; without a login: grant them to the people's and the programs' own roles.
do $$
declare
    each_role text;
begin
    foreach each_role in array array[{analyst_name}, {worker_name}, {admin_name}] loop
        begin
            if not exists (select from pg_roles where rolname = each_role) then
                execute format('create role %I nologin', each_role);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- made for another database of this server at the same moment
        end;
    end loop;
    -- Whoever administers acts as the owner. Not where that is a superuser: they would be one too.
    if not (select rolsuper from pg_roles where rolname = {owner_name}) then
        grant {owner} to {admin};
    end if;
end
$$;

grant usage on schema {schema} to {owner}, {analyst}, {worker};

-- name: citus
-- What the owner of an installed, still empty ehrdb runs once on the coordinator of a Citus cluster, as
-- psql --single-transaction: whatever is a patient's goes to one shard by patient_id, all tables alike, what all patients
-- are read by to every node. Contents and their queue are shared between patients and stay on the coordinator, as do
-- the load's books. Run `ehrdb upgrade` before, and afterwards on the coordinator alone.

-- Triggers keep marks, counts and validity; each concerns rows of one patient, so of one shard.
set citus.enable_unsafe_triggers = on;
set citus.shard_replication_factor = 1;

-- Citus takes no identity of type integer: the same numbers from a sequence.
do $$
declare
    each_column record;
    sequence_name text;
begin
    for each_column in
        select a.attrelid::regclass as of_table, a.attname, c.relname
          from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace = 'ehrdb'::regnamespace and a.attidentity <> '' and a.atttypid = 'integer'::regtype
    loop
        execute format('alter table %s alter column %I drop identity', each_column.of_table, each_column.attname);
        sequence_name := format('ehrdb.%I', each_column.relname || '_number');
        execute format('create sequence %s owned by %s.%I', sequence_name, each_column.of_table, each_column.attname);
        execute format('alter table %s alter column %I set default nextval(%L)', each_column.of_table, each_column.attname,
                       sequence_name);
        execute format('select setval(%L, coalesce(max(%I), 0) + 1, false) from %s', sequence_name, each_column.attname,
                       each_column.of_table);
    end loop;
end
$$;

select create_reference_table(format('ehrdb.%I', name)::regclass)
  from unnest(array[
        'prompt', 'encoder', 'encoder_part', 'task', 'head', 'head_count', 'head_month', 'evaluation', 'format', 'unit', 'unit_synonym',
        'concept', 'concept_parent', 'concept_text', 'concept_category', 'concept_frequency', 'concept_onset', 'custom_text',
        'code_map', 'vocabulary_prefix', 'excluded_vocabulary', 'category_rule', 'visit_section', 'aggregated_concept',
        'aggregated_unit', 'aggregated_code', 'aggregated_name', 'icu_care_site', 'snapshot', 'source', 'protection'
       ]) with ordinality as listed (name, place)
 order by place;

select create_distributed_table('ehrdb.patient', 'patient_id');
select create_distributed_table(format('ehrdb.%I', name)::regclass, 'patient_id', colocate_with => 'ehrdb.patient')
  from unnest(array[
        'event', 'radiology_report', 'changed_patient', 'source_patient', 'embedding_point', 'patient_embedding', 'label',
        'patient_prediction', 'risk_reason', 'index_date'
       ]) with ordinality as listed (name, place)
 order by place;

-- One patient's text is made where the patient is.
select create_distributed_function('ehr.timeline(bigint, timestamp, text, interval, integer)', 'patient_id',
                                   colocate_with => 'ehrdb.patient');
