-- Events: what happened to whom, when. Loaded by `ehrdb load`, read through schema ehr.

create table ehrdb.concept (
    code_id          integer generated always as identity primary key,
    code             text collate "C" not null unique,
    vocabulary       text collate "C" not null,
    description      text,
    concept_id       bigint,
    standard_concept text,
    extra            jsonb
);

create table ehrdb.concept_parent (
    child_id  integer not null references ehrdb.concept on delete cascade,
    parent_id integer not null references ehrdb.concept on delete cascade,
    primary key (child_id, parent_id)
);
create index concept_parent_by_parent on ehrdb.concept_parent (parent_id);

create table ehrdb.custom_text (
    vocabulary  text collate "C" not null,
    code        text collate "C" not null,
    description text not null,
    primary key (vocabulary, code)
);

create table ehrdb.unit (
    unit_id integer generated always as identity primary key,
    unit    text collate "C" not null unique
);

create table ehrdb.patient (
    patient_id  bigint primary key,
    source      text not null,
    birth_time  timestamp,
    death_time  timestamp,
    sex         text,
    race        text,
    ethnicity   text,
    split       text,
    fingerprint bytea not null,
    loaded_at   timestamptz not null default now()
);

-- Widest columns first so that rows pack without padding. `ordinal` counts a patient's events in the
-- source's order and is the only tie-break. Static events (no time) have time -infinity.
-- `valid_to`: when another event of the same code takes over, infinity for the latest; an event that shares its
-- time with an earlier one of its code is never valid. So the latest of each code as of t is
-- `time <= t and valid_to > t`. Null until computed (ehrdb.keep_valid_to does, before the statement ends).
create table ehrdb.event (
    patient_id    bigint not null,
    time          timestamp not null,
    end_time      timestamp,
    valid_to      timestamp,
    ordinal       integer not null,
    code_id       integer not null,
    unit_id       integer,
    numeric_value real,
    text_value    text,
    short_text    text generated always as (case when octet_length(text_value) <= 200 then text_value end) stored,
    has_long_text boolean not null generated always as (coalesce(octet_length(text_value) > 200, false)) stored,
    visit_id      text,
    visit_class   text check (visit_class in ('inpatient', 'emergency', 'outpatient', 'icu', 'other')),
    source_table  text,
    extra         jsonb,
    primary key (patient_id, ordinal)
);
-- Timelines read these alone, never the table (but for texts too long for an index), in the order they print.
create index event_by_time on ehrdb.event (patient_id, time desc, ordinal, valid_to)
    include (code_id, unit_id, numeric_value, short_text, has_long_text);
create index event_current on ehrdb.event (patient_id, time desc, ordinal)
    include (code_id, unit_id, numeric_value, short_text, has_long_text) where valid_to = 'infinity';
create index event_by_code on ehrdb.event (patient_id, code_id, time);
create index event_visit on ehrdb.event (patient_id, time) where visit_class is not null;

-- Patients whose events changed since the last refresh looked at them. Rows are only added, as often as a patient is
-- marked, and taken away by the refresh that looks: a row per patient would be locked by whoever marks it, and a
-- refresh and a writer could wait for each other.
create table ehrdb.changed_patient (
    patient_id bigint not null,
    changed_at timestamptz not null default now()
);
create index changed_patient_by_patient on ehrdb.changed_patient (patient_id);

-- One row per load and source table: what came in, what did not and why.
create table ehrdb.load_report (
    load_id        bigint not null,
    source         text not null,
    source_table   text not null,
    rows_read      bigint not null,
    rows_loaded    bigint not null,
    rows_unmapped  bigint not null default 0,
    rows_rejected  bigint not null default 0,
    reasons        jsonb not null default '{}',
    loaded_at      timestamptz not null default now(),
    primary key (load_id, source_table)
);

-- The last load of each source: a digest of its files and settings (null: not from files) and how many patients it
-- left. The same digest with as many patients still there is a load that would change nothing.

create table ehrdb.source (
    source   text primary key,
    digest   bytea,
    patients bigint not null
);

-- Care sites that are intensive care units: the 25 of EHRSHOT's ICU task. A site adds its own codes.
create table ehrdb.icu_care_site (
    code text collate "C" primary key
);
insert into ehrdb.icu_care_site
select 'CARE_SITE/' || id
  from unnest(array[
    7928450, 7930385, 7930600, 7928852, 7928619, 7929727, 7928675, 7930225, 7928759, 7928227, 7928810, 7929179,
    7928650, 7929351, 7928457, 7928195, 7930681, 7930670, 7930176, 7931420, 7929149, 7930857, 7931186, 7930934,
    7930924]) as id;

-- CheXpert findings of radiology reports: 14 bits, first finding = most significant (spec of task chexpert).
create table ehrdb.radiology_report (
    patient_id bigint not null,
    time       timestamp not null,
    findings   integer not null check (findings between 0 and 16383)
);
create index radiology_report_by_patient on ehrdb.radiology_report (patient_id, time);

-- Locked by whoever does what only one session may do at a time: the table to plan, the row to look after indexes.
-- Readers can take neither lock.
create table ehrdb.turn (
    what text primary key
);
insert into ehrdb.turn values ('index');

-- Where the site says who may see whom (ehr.protect); no row: every reader sees everybody.
create table ehrdb.protection (
    is_only_row boolean primary key default true check (is_only_row),
    visible     text not null
);

-- Who asked what about whom, from the command line: ids and sizes, never contents. Rows are only added.
create table ehrdb.audit (
    audit_id    bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    who         name not null default session_user,
    what        text not null,
    patients    bigint[],
    cohort_size bigint
);
