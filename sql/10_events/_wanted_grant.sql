create or replace view ehrdb.wanted_grant with (security_invoker = true) as
with prefix (prefix) as (
    select coalesce(nullif(current_setting('ehrdb.roles', true), ''), (select roles from ehrdb.schema_state), 'ehr')
), listed (duty, privileges, tables, columns) as (
    values
    -- What the views and functions of schema ehr read beneath. They run with the reader's rights.
    ('analyst', 'select', 'event unit concept concept_parent concept_text concept_category load_report code_map stands_for', null),
    ('analyst', 'select', 'format excluded_vocabulary visit_section aggregated_concept aggregated_code aggregated_unit aggregated_name measured_as', null),
    ('analyst', 'select', 'prompt encoder encoder_part encoder_file embedding embedding_point patient_embedding refresh_run', null),
    ('analyst', 'select', 'concept_frequency concept_onset concept_onset_change clinical_concept served_embedding figure verification loaded_source', null),
    ('analyst', 'select', 'task label head head_count head_month evaluation patient_prediction risk_reason schema_state migration wanted_grant grant_fault', null),
    -- All but the digest of a record, by which somebody could tell whether it is one that they have.
    ('analyst', 'select', 'patient', 'patient_id source birth_time death_time sex race ethnicity split loaded_at known_since'),
    ('analyst', 'select', 'changed_patient', 'patient_id'),
    ('analyst', 'select', 'embedding_job',
     'encoder_id content_sha256 patient_id as_of attempts reason is_dead not_before worker leased_until created_at'),
    -- What texts are made of.
    ('worker', 'select', 'event unit concept concept_text concept_category format visit_section excluded_vocabulary', null),
    ('worker', 'select', 'aggregated_concept aggregated_code aggregated_unit aggregated_name measured_as concept_parent clinical_concept stands_for', null),
    ('worker', 'select', 'patient', 'patient_id birth_time sex race ethnicity'),
    -- Which moments and questions count; never what a label says.
    ('worker', 'select', 'label', 'patient_id prediction_time'),
    ('worker', 'select', 'head', 'head_id target encoder_id prompt_id'),
    ('worker', 'select', 'head_month', null),
    ('worker', 'select', 'prompt encoder encoder_part encoder_file encoder_prompt served_embedding', null),
    ('worker', 'select', 'schema_state migration wanted_grant grant_fault', null),
    ('worker', 'select insert update delete', 'embedding_point patient_embedding embedding_job', null),
    ('worker', 'select insert update delete', 'plan_progress concept_frequency concept_onset', null),
    ('worker', 'select insert delete', 'embedding changed_patient', null),
    ('worker', 'select delete', 'concept_frequency_change concept_onset_change', null),
    ('worker', 'select insert delete', 'figure', null),
    ('worker', 'select insert update', 'verification', null),
    ('worker', 'select insert update delete', 'refresh_run', null),
    ('worker', 'select insert', 'snapshot index_date', null),
    ('worker', 'select update', 'turn', null),
    ('worker', 'insert', 'patient_hold', null),
    ('worker', 'select insert update delete', 'search_request', null),
    ('worker', 'select update', 'speech_turn speech_1 speech_2 speech_3 speech_4 speech_5 speech_6 speech_7 speech_8', null)
), wanted (duty, kind, object, privilege, columns) as (
    select l.duty, 'table' as kind, 'ehrdb.' || t.name as object, p.privilege, l.columns
      from listed l,
           string_to_table(l.tables, ' ') t (name),
           string_to_table(l.privileges, ' ') p (privilege)
    union all
    select 'analyst' as duty, 'table' as kind, 'ehr.' || quote_ident(c.relname) as object, 'select' as privilege,
           null as columns
      from pg_class c where c.relnamespace = to_regnamespace('ehr') and c.relkind = 'v' and c.relname <> 'audit'
    union all
    select 'worker' as duty, 'table' as kind, 'ehr.' || v.name as object, 'select' as privilege, null as columns
      from (values ('current_timeline'), ('format'), ('embedding_status'), ('failed_embedding'), ('encoder')) v (name)
    union all
    select d.duty, 'schema' as kind, s.name as object, 'usage' as privilege, null as columns
      from (values ('analyst'), ('worker')) d (duty), (values ('ehr'), ('ehrdb')) s (name)
    union all
    select d.duty, 'routine' as kind, p.oid::regprocedure::text as object, 'execute' as privilege, null as columns
      from pg_proc p
     cross join (values ('analyst'), ('worker')) d (duty)
     where p.pronamespace = to_regnamespace('ehrdb') and p.prosecdef and (d.duty = 'analyst' or p.proname = 'record')
)
select w.duty, p.prefix || '_' || w.duty as role, w.kind, w.object, w.privilege,
       replace(w.columns, ' ', ', ') as columns
  from wanted w, prefix p;

comment on view ehrdb.wanted_grant is
'Every right of the roles for analysts and the worker, by name; partitions and all other tables are nobody''s but the
owner''s. Whoever administers is a member of the owner instead.';
