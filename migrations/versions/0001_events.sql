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
-- Words in any language, without stems; a text's beginning, since a vector of words has a largest size.
create index concept_by_word on ehrdb.concept
    using gin (to_tsvector('pg_catalog.simple', translate(left(description, 10000), '/_', '  ')));

-- `sources`: whose last load has this relation ('' is ehrdb.code_map); one that no load has any more goes. Empty: added
-- by hand, stays.
create table ehrdb.concept_parent (
    child_id  integer not null references ehrdb.concept on delete cascade,
    parent_id integer not null references ehrdb.concept on delete cascade,
    sources   text[] not null default '{}',
    primary key (child_id, parent_id)
);
create index concept_parent_by_parent on ehrdb.concept_parent (parent_id);

-- Which standard code a source's code stands for, map by map. `code` is as the map has it, * at its end stands for all
-- that begin so; of the rows of a map that fit a code, those that say most of it count. No standard code: none on
-- purpose. `key` is how codes find the row (ehrdb.map_key), kept by a trigger.
create table ehrdb.code_map (
    map                  text collate "C" not null,
    code                 text collate "C" not null,
    standard_code        text collate "C",
    description          text,
    standard_description text,
    key                  text collate "C" not null,
    unique nulls not distinct (map, code, standard_code)
);
create index code_map_by_key on ehrdb.code_map (key);

-- How sources begin their codes of a vocabulary, where it is not VOCABULARY/; the longest that fits counts. A site adds
-- its own.
create table ehrdb.vocabulary_prefix (
    prefix     text collate "C" primary key check (prefix <> ''),
    vocabulary text collate "C" not null
);
insert into ehrdb.vocabulary_prefix (prefix, vocabulary) values
    ('ICD9/', 'ICD9CM'), ('ICD9CM//', 'ICD9CM'), ('DIAGNOSIS//ICD//9//', 'ICD9CM'), ('DIAGNOSIS//ICD9CM//', 'ICD9CM'),
    ('ICD10/', 'ICD10CM'), ('ICD10CM//', 'ICD10CM'), ('DIAGNOSIS//ICD//10//', 'ICD10CM'),
    ('DIAGNOSIS//ICD10CM//', 'ICD10CM'), ('LAB//', 'MIMIC lab item');

create table ehrdb.custom_text (
    vocabulary  text collate "C" not null,
    code        text collate "C" not null,
    description text not null,
    source      text,
    primary key (vocabulary, code)
);

-- Units as written. Where UCUM knows one: what it measures (its base units), and value * factor + shift in those;
-- units of one dimension can be converted. Empty dimension: not looked up yet, or unknown.
create table ehrdb.unit (
    unit_id   integer generated always as identity primary key,
    unit      text collate "C" not null unique,
    dimension text collate "C",
    factor    float8,
    shift     float8
);

-- How units are written besides UCUM, in lower case. A site adds its own.
create table ehrdb.unit_synonym (
    unit text collate "C" primary key check (unit = lower(unit)),
    ucum text collate "C" not null
);
insert into ehrdb.unit_synonym (unit, ucum) values
    ('mg/dl', 'mg/dL'), ('g/dl', 'g/dL'), ('ug/dl', 'ug/dL'), ('mcg/dl', 'ug/dL'), ('ng/ml', 'ng/mL'),
    ('ug/ml', 'ug/mL'), ('mcg/ml', 'ug/mL'), ('pg/ml', 'pg/mL'), ('mg/l', 'mg/L'), ('g/l', 'g/L'), ('ug/l', 'ug/L'),
    ('mcg/l', 'ug/L'), ('ng/dl', 'ng/dL'), ('mg%', 'mg/dL'), ('gm/dl', 'g/dL'), ('mcg', 'ug'), ('gm', 'g'),
    ('mmol/l', 'mmol/L'), ('umol/l', 'umol/L'), ('nmol/l', 'nmol/L'), ('pmol/l', 'pmol/L'), ('meq/l', 'meq/L'),
    ('milligram per deciliter', 'mg/dL'), ('gram per deciliter', 'g/dL'), ('gram per liter', 'g/L'),
    ('millimole per liter', 'mmol/L'), ('micromole per liter', 'umol/L'), ('milliequivalent per liter', 'meq/L'),
    ('milligram per liter', 'mg/L'), ('nanogram per milliliter', 'ng/mL'), ('picogram per milliliter', 'pg/mL'),
    ('k/ul', '10*3/uL'), ('10^3/ul', '10*3/uL'), ('10*3/ul', '10*3/uL'), ('10^9/l', '10*9/L'),
    ('10*9/l', '10*9/L'), ('m/ul', '10*6/uL'), ('10^6/ul', '10*6/uL'), ('10*6/ul', '10*6/uL'), ('10^12/l', '10*12/L'),
    ('10*12/l', '10*12/L'), ('/ul', '/uL'), ('#/ul', '/uL'), ('iu/l', '[iU]/L'), ('u/l', 'U/L'), ('iu/ml', '[iU]/mL'),
    ('u/ml', 'U/mL'), ('miu/l', 'm[iU]/L'), ('miu/ml', 'm[iU]/mL'), ('percent', '%'), ('bpm', '/min'),
    ('beats/min', '/min'), ('breaths/min', '/min'), ('insp/min', '/min'), ('per minute', '/min'), ('mmhg', 'mm[Hg]'),
    ('mm hg', 'mm[Hg]'), ('millimeter mercury column', 'mm[Hg]'), ('cmh2o', 'cm[H2O]'), ('kgs', 'kg'),
    ('kilogram', 'kg'), ('gram', 'g'), ('lb', '[lb_av]'), ('lbs', '[lb_av]'), ('pound', '[lb_av]'),
    ('oz', '[oz_av]'), ('ounce', '[oz_av]'), ('ounces', '[oz_av]'), ('in', '[in_i]'), ('inch', '[in_i]'),
    ('inches', '[in_i]'), ('centimeter', 'cm'), ('meter', 'm'), ('f', '[degF]'), ('°f', '[degF]'), ('degf', '[degF]'),
    ('deg f', '[degF]'), ('c', 'Cel'), ('°c', 'Cel'), ('degc', 'Cel'), ('deg c', 'Cel'), ('kg/m^2', 'kg/m2'),
    ('m^2', 'm2'), ('sec', 's'), ('minutes', 'min'), ('hr', 'h'), ('hour', 'h'), ('hours', 'h'), ('day', 'd'),
    ('days', 'd'), ('weeks', 'wk'), ('months', 'mo'), ('year', 'a'), ('years', 'a'), ('grams', 'g'), ('ml', 'mL'),
    ('meq', 'meq'), ('meq.', 'meq'), ('meq/hour', 'meq/h'), ('meq./hour', 'meq/h'), ('ml/hr', 'mL/h'),
    ('ml/hour', 'mL/h'), ('ml/min', 'mL/min'), ('mg/hour', 'mg/h'), ('mcg/hour', 'ug/h'), ('mcg/min', 'ug/min'),
    ('mcg/kg/min', 'ug/kg/min'), ('mcg/kg/hour', 'ug/kg/h'), ('grams/hour', 'g/h'), ('grams/min', 'g/min');

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
-- Who has a concept: of each patient's events of it the latest stands for all.
create index event_by_concept on ehrdb.event (code_id, patient_id) where valid_to = 'infinity';
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
    patients bigint not null,
    tables   jsonb not null default '{}'  -- what was there: its tables, each with the columns that were read
);

-- Patients who were purged do not return with the next load. Only a keyed hash of their id is kept: who has neither
-- the key nor the source cannot tell whom.
create table ehrdb.purge_key (
    key bytea primary key
);
insert into ehrdb.purge_key values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
create table ehrdb.purged_patient (
    patient_hash bytea primary key,
    purged_at    timestamptz not null default now()
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
