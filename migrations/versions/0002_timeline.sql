-- Timeline: what formats are made of, as data that a site can read and adapt, and what is kept of it per concept.

-- `rules` names the set of category rules, aggregated concepts and visit sections that a format uses: a site's
-- own format is a copy of those rows under another name (docs/timeline-formats.md). The version enters the
-- identity of an encoder: raise it when the format's text changes. `has_slips`: a Markdown document takes a
-- patient's first three or four facts for the demographics and hides all that begins with Birth, as the paper's
-- code does; otherwise demographics are what the category rules say.
create table ehrdb.format (
    name        text collate "C" primary key check (name ~ '^[a-z][a-z0-9_]*$'),
    version     integer not null check (version > 0),
    kind        text not null check (kind in ('list', 'markdown')),
    is_recent   boolean not null default true,
    has_time    boolean not null default false,
    has_slips   boolean not null default false,
    rules       text collate "C" not null,
    description text not null
);
insert into ehrdb.format (name, version, kind, is_recent, has_time, has_slips, rules, description) values
    ('list_recent', 1, 'list', true, false, false, 'paper',
     'Latest value of each code, newest first (the paper''s default).'),
    ('list_recent_time', 1, 'list', true, true, false, 'paper',
     'Latest value of each code, newest first, with times shifted so that as_of is 2024-01-01.'),
    ('list_first', 1, 'list', false, false, false, 'paper', 'First value of each code, oldest first.'),
    ('list_first_time', 1, 'list', false, true, false, 'paper',
     'First value of each code, oldest first, with times shifted so that as_of is 2024-01-01.'),
    ('markdown', 1, 'markdown', true, true, true, 'paper',
     'Document: demographics, 24 body measures, vital signs and labs, visits with their events.'),
    ('markdown_corrected', 1, 'markdown', true, true, false, 'corrected',
     'The same without the evident slips of the paper''s rules.');

-- Vocabularies whose events no format shows (the paper's `no_unres` setting). Upper case, blanks written `_`.
create table ehrdb.excluded_vocabulary (
    vocabulary text collate "C" primary key
);
insert into ehrdb.excluded_vocabulary values ('CARE_SITE'), ('ICDO3');

-- The category of a code is that of the first rule that holds: its prefix, its code, or for SNOMED being a code
-- or one of its descendants. Codes that no rule covers are conditions.
create table ehrdb.category_rule (
    rules    text collate "C" not null,
    rule     integer not null,
    kind     text not null check (kind in ('prefix', 'code', 'descendant')),
    pattern  text collate "C" not null,
    category text not null check (
        category in ('demographics', 'visits', 'conditions', 'medications', 'procedures', 'labs')),
    primary key (rules, rule)
);
insert into ehrdb.category_rule (rules, rule, kind, pattern, category)
select 'paper', * from (values
    (1, 'prefix', 'Race/', 'demographics'),
    (2, 'prefix', 'Gender/', 'demographics'),
    (3, 'prefix', 'Ethnicity/', 'demographics'),
    (4, 'prefix', 'Visit/', 'visits'),
    (5, 'prefix', 'Medicare Specialty/', 'visits'),
    (6, 'prefix', 'CMS Place of Service/', 'visits'),
    (7, 'prefix', 'RxNorm/', 'medications'),
    (8, 'prefix', 'RxNorm Extension/', 'medications'),
    (9, 'prefix', 'CVX/', 'medications'),
    (10, 'prefix', 'CPT4/', 'procedures'),
    (11, 'prefix', 'ICD10PCS/', 'procedures'),
    (12, 'prefix', 'ICD9Proc/', 'procedures'),
    (13, 'prefix', 'Domain/', 'procedures'),
    (14, 'prefix', 'HCPCS/', 'procedures'),
    (15, 'prefix', 'LOINC/', 'labs'),
    (16, 'prefix', 'Cancer Modifier/', 'conditions'),
    (17, 'prefix', 'OMOP Extension/', 'conditions'),
    (18, 'prefix', 'Condition Type/', 'conditions'),
    (19, 'code', 'SNOMED/3950001', 'demographics'),
    (20, 'descendant', 'SNOMED/373873005', 'medications'),
    (21, 'descendant', 'SNOMED/105590001', 'medications'),
    (22, 'descendant', 'SNOMED/108252007', 'labs'),
    (23, 'descendant', 'SNOMED/430925007', 'labs'),
    (24, 'descendant', 'SNOMED/71388002', 'procedures'),
    -- Codes of MEDS, as its extractions of MIMIC-IV, eICU and others begin.
    (101, 'code', 'MEDS_BIRTH', 'demographics'),
    (102, 'prefix', 'GENDER//', 'demographics'),
    (103, 'prefix', 'RACE//', 'demographics'),
    (104, 'prefix', 'ETHNICITY//', 'demographics'),
    (105, 'prefix', 'DEMOGRAPHIC', 'demographics'),
    (106, 'prefix', 'HOSPITAL_ADMISSION', 'visits'),
    (107, 'prefix', 'HOSPITAL_DISCHARGE', 'visits'),
    (108, 'prefix', 'ICU_ADMISSION', 'visits'),
    (109, 'prefix', 'ICU_DISCHARGE', 'visits'),
    (110, 'prefix', 'ED_REGISTRATION', 'visits'),
    (111, 'prefix', 'ED_OUT', 'visits'),
    (112, 'prefix', 'TRANSFER_TO', 'visits'),
    (113, 'prefix', 'ADMISSION//', 'visits'),
    (114, 'prefix', 'DISCHARGE//', 'visits'),
    (115, 'prefix', 'ENCOUNTER//', 'visits'),
    (116, 'prefix', 'MEDICATION', 'medications'),
    (117, 'prefix', 'INFUSION', 'medications'),
    (118, 'prefix', 'DRUG//', 'medications'),
    (119, 'prefix', 'IMMUNIZATION', 'medications'),
    (120, 'prefix', 'PROCEDURE', 'procedures'),
    (121, 'prefix', 'HCPCS//', 'procedures'),
    (122, 'prefix', 'LAB//', 'labs'),
    (123, 'prefix', 'VITAL', 'labs'),
    (124, 'prefix', 'MEASUREMENT', 'labs'),
    (125, 'prefix', 'SUBJECT_WEIGHT', 'labs'),
    (126, 'prefix', 'SUBJECT_FLUID_OUTPUT', 'labs'),
    (127, 'prefix', 'DIAGNOSIS', 'conditions'),
    (128, 'prefix', 'CONDITION//', 'conditions'),
    (129, 'prefix', 'DRG//', 'conditions')) as rule;
insert into ehrdb.category_rule (rules, rule, kind, pattern, category)
select 'corrected', rule, kind, pattern, category from ehrdb.category_rule where rules = 'paper';

-- Where a visit of a Markdown document lists an event, by vocabulary; '*' stands for all others.
create table ehrdb.visit_section (
    rules      text collate "C" not null,
    vocabulary text collate "C" not null,
    position   integer not null,
    section    text not null,
    primary key (rules, vocabulary)
);
insert into ehrdb.visit_section (rules, vocabulary, position, section) values
    ('paper', '*', 1, 'Conditions'),
    ('paper', 'RxNorm', 2, 'Medications'),
    ('paper', 'RxNorm Extension', 2, 'Medications'),
    ('paper', 'CPT4', 3, 'Procedures'),
    ('paper', 'ICD10PCS', 3, 'Procedures'),
    ('paper', 'ICD9Proc', 3, 'Procedures');
insert into ehrdb.visit_section (rules, vocabulary, position, section)
select 'corrected', vocabulary, position, section from ehrdb.visit_section where rules = 'paper'
union all
values ('corrected', 'CVX', 2, 'Medications'), ('corrected', 'HCPCS', 3, 'Procedures'),
       ('corrected', 'Domain', 3, 'Procedures'), ('corrected', 'LOINC', 4, 'Measurements');

-- Measurements that a Markdown document shows apart: plausible values only (low to high, inclusive), the last
-- three, rated against the normal range. decimals 0 truncates, 1 and 2 round. `any_unit`: the value counts as it
-- stands, whatever the event's unit; otherwise it is converted (value * factor + shift) from the units listed
-- beside, and an event in yet another unit is shown in the visits instead.
create table ehrdb.aggregated_concept (
    rules       text collate "C" not null,
    position    integer not null,
    section     text not null,
    concept     text not null,
    unit        text not null,
    low         float8 not null,
    high        float8 not null,
    normal_low  float8,
    normal_high float8,
    decimals    integer not null check (decimals between 0 and 2),
    any_unit    boolean not null,
    primary key (rules, position)
);
create table ehrdb.aggregated_unit (
    rules    text collate "C" not null,
    position integer not null,
    unit     text collate "C" not null check (unit = lower(unit)),
    factor   float8 not null default 1,
    shift    float8 not null default 0,
    primary key (rules, position, unit),
    foreign key (rules, position) references ehrdb.aggregated_concept on delete cascade
);
create table ehrdb.aggregated_code (
    rules    text collate "C" not null,
    code     text collate "C" not null,
    position integer not null,
    primary key (rules, code),
    foreign key (rules, position) references ehrdb.aggregated_concept on delete cascade
);
insert into ehrdb.aggregated_concept
select 'paper', *, true from (values
    (1, 'Recent Body Metrics', 'Body weight', 'oz', 350, 10000, null, null, 1),
    (2, 'Recent Body Metrics', 'Body height', 'inch', 5, 100, null, null, 1),
    (3, 'Recent Body Metrics', 'Body mass index / BMI', 'kg/m2', 10, 100, 18.5, 24.9, 1),
    (4, 'Recent Body Metrics', 'Body surface area', 'm2', 0.1, 10, null, null, 2),
    (5, 'Recent Vital Signs', 'Heart rate', 'bpm', 5, 300, 60, 100, 0),
    (6, 'Recent Vital Signs', 'Respiratory rate', 'breaths/min', 1, 100, 12, 18, 0),
    (7, 'Recent Vital Signs', 'Systolic blood pressure', 'mmHg', 20, 300, 90, 140, 0),
    (8, 'Recent Vital Signs', 'Diastolic blood pressure', 'mmHg', 20, 300, 60, 90, 0),
    (9, 'Recent Vital Signs', 'Body temperature', '°F', 80, 120, 95, 100, 1),
    (10, 'Recent Vital Signs', 'Oxygen saturation', '%', 1, 100, 95, 100, 0),
    (11, 'Recent Lab Results', 'Hemoglobin', 'g/dL', 1, 20, 12, 17, 1),
    (12, 'Recent Lab Results', 'Hematocrit', '%', 10, 100, 36, 51, 0),
    (13, 'Recent Lab Results', 'Erythrocytes', '10^6/uL', 1, 10, 4.2, 5.9, 2),
    (14, 'Recent Lab Results', 'Leukocytes', '10^3/uL', 1, 100, 4, 10, 1),
    (15, 'Recent Lab Results', 'Platelets', '10^3/uL', 10, 1000, 150, 350, 0),
    (16, 'Recent Lab Results', 'Sodium', 'mmol/L', 100, 200, 136, 145, 0),
    (17, 'Recent Lab Results', 'Potassium', 'mmol/L', 0.1, 10, 3.5, 5.0, 1),
    (18, 'Recent Lab Results', 'Chloride', 'mmol/L', 50, 200, 98, 106, 0),
    (19, 'Recent Lab Results', 'Carbon dioxide, total', 'mmol/L', 10, 100, 23, 28, 0),
    (20, 'Recent Lab Results', 'Calcium', 'mg/dL', 1, 20, 9, 10.5, 1),
    (21, 'Recent Lab Results', 'Glucose', 'mg/dL', 10, 1000, 70, 100, 0),
    (22, 'Recent Lab Results', 'Urea nitrogen', 'mg/dL', 1, 200, 8, 20, 0),
    (23, 'Recent Lab Results', 'Creatinine', 'mg/dL', 0.1, 10, 0.7, 1.3, 1),
    (24, 'Recent Lab Results', 'Anion gap', 'mmol/L', -20, 50, 3, 11, 0)) as concept;
insert into ehrdb.aggregated_code (rules, position, code)
select 'paper', position, unnest(codes) from (values
    (1, array['LOINC/29463-7']),
    (2, array['LOINC/8302-2']),
    (3, array['LOINC/39156-5']),
    (4, array['LOINC/8277-6', 'SNOMED/301898006']),
    (5, array['LOINC/8867-4', 'SNOMED/364075005', 'SNOMED/78564009']),
    (6, array['LOINC/9279-1']),
    (7, array['LOINC/8480-6', 'SNOMED/271649006']),
    (8, array['LOINC/8462-4', 'SNOMED/271650006']),
    (9, array['LOINC/8310-5']),
    (10, array['LOINC/LP21258-6']),
    (11, array['LOINC/718-7', 'SNOMED/271026005', 'SNOMED/441689006']),
    (12, array['LOINC/4544-3', 'LOINC/20570-8', 'LOINC/48703-3', 'SNOMED/28317006']),
    (13, array['LOINC/789-8', 'LOINC/26453-1']),
    (14, array['LOINC/20584-9', 'LOINC/6690-2']),
    (15, array['LOINC/777-3', 'SNOMED/61928009']),
    (16, array['LOINC/2951-2', 'LOINC/2947-0', 'SNOMED/25197003']),
    (17, array['LOINC/2823-3', 'SNOMED/312468003', 'LOINC/6298-4', 'SNOMED/59573005']),
    (18, array['LOINC/2075-0', 'SNOMED/104589004', 'LOINC/2069-3']),
    (19, array['LOINC/2028-9']),
    (20, array['LOINC/17861-6', 'SNOMED/271240001']),
    (21, array['LOINC/2345-7', 'SNOMED/166900001', 'LOINC/2339-0', 'SNOMED/33747003', 'LOINC/14749-6']),
    (22, array['LOINC/3094-0', 'SNOMED/105011006']),
    (23, array['LOINC/2160-0', 'SNOMED/113075003']),
    (24, array['LOINC/33037-3', 'LOINC/41276-7', 'SNOMED/25469001'])) as concept (position, codes);

-- Codes of MEDS (A//B) without parents say by their description what they are: LOINC's own names, in lower case, and
-- those of bedside charts.
create table ehrdb.aggregated_name (
    name text collate "C" primary key check (name = lower(name)),
    code text collate "C" not null
);
insert into ehrdb.aggregated_name (name, code) values
    ('body weight', 'LOINC/29463-7'), ('body height', 'LOINC/8302-2'),
    ('body mass index (bmi) [ratio]', 'LOINC/39156-5'), ('body mass index', 'LOINC/39156-5'),
    ('body surface area', 'LOINC/8277-6'), ('heart rate', 'LOINC/8867-4'), ('respiratory rate', 'LOINC/9279-1'),
    ('systolic blood pressure', 'LOINC/8480-6'), ('non invasive blood pressure systolic', 'LOINC/8480-6'),
    ('arterial blood pressure systolic', 'LOINC/8480-6'), ('diastolic blood pressure', 'LOINC/8462-4'),
    ('non invasive blood pressure diastolic', 'LOINC/8462-4'), ('arterial blood pressure diastolic', 'LOINC/8462-4'),
    ('body temperature', 'LOINC/8310-5'), ('temperature fahrenheit', 'LOINC/8310-5'),
    ('temperature celsius', 'LOINC/8310-5'), ('oxygen saturation in arterial blood', 'LOINC/LP21258-6'),
    ('oxygen saturation in arterial blood by pulse oximetry', 'LOINC/LP21258-6'),
    ('o2 saturation pulseoxymetry', 'LOINC/LP21258-6'),
    ('hemoglobin [mass/volume] in blood', 'LOINC/718-7'),
    ('hematocrit [volume fraction] of blood by automated count', 'LOINC/4544-3'),
    ('hematocrit [volume fraction] of blood', 'LOINC/20570-8'),
    ('erythrocytes [#/volume] in blood by automated count', 'LOINC/789-8'),
    ('erythrocytes [#/volume] in blood', 'LOINC/26453-1'),
    ('leukocytes [#/volume] in blood by automated count', 'LOINC/6690-2'),
    ('platelets [#/volume] in blood by automated count', 'LOINC/777-3'),
    ('sodium [moles/volume] in serum or plasma', 'LOINC/2951-2'), ('sodium [moles/volume] in blood', 'LOINC/2947-0'),
    ('potassium [moles/volume] in serum or plasma', 'LOINC/2823-3'),
    ('potassium [moles/volume] in blood', 'LOINC/6298-4'),
    ('chloride [moles/volume] in serum or plasma', 'LOINC/2075-0'),
    ('chloride [moles/volume] in blood', 'LOINC/2069-3'),
    ('carbon dioxide, total [moles/volume] in serum or plasma', 'LOINC/2028-9'),
    ('calcium [mass/volume] in serum or plasma', 'LOINC/17861-6'),
    ('glucose [mass/volume] in serum or plasma', 'LOINC/2345-7'), ('glucose [mass/volume] in blood', 'LOINC/2339-0'),
    ('urea nitrogen [mass/volume] in serum or plasma', 'LOINC/3094-0'),
    ('creatinine [mass/volume] in serum or plasma', 'LOINC/2160-0'),
    ('anion gap in serum or plasma', 'LOINC/33037-3'), ('anion gap 4 in serum or plasma', 'LOINC/33037-3');

-- The paper's slips, corrected: values are stored as real, so a bound is one too (4.2 is not below 4.2); a
-- temperature is normal up to 100.4 °F, where the paper's list reads 100, 4; values are converted to the unit that
-- is printed. Units as in UCUM and as hospitals write them.
insert into ehrdb.aggregated_concept
select 'corrected', position, section, concept, unit, low::real, high::real, normal_low::real,
       case concept when 'Body temperature' then 100.4 else normal_high end::real, decimals, false
  from ehrdb.aggregated_concept where rules = 'paper';
insert into ehrdb.aggregated_code
select 'corrected', code, position from ehrdb.aggregated_code where rules = 'paper';
insert into ehrdb.aggregated_unit (rules, position, unit, factor, shift)
select 'corrected', position, unit, factor, shift
  from (values
    (array[1], array['oz', '[oz_av]', 'ounce', 'ounces'], 1, 0),
    (array[1], array['lb', '[lb_av]', 'lbs', 'pound'], 16, 0),
    (array[1], array['kg'], 1 / 0.028349523125, 0),
    (array[1], array['g'], 1 / 28.349523125, 0),
    (array[2], array['in', '[in_i]', 'inch', 'inches', '[in_us]'], 1, 0),
    (array[2], array['cm'], 1 / 2.54, 0),
    (array[2], array['m'], 1 / 0.0254, 0),
    (array[3], array['kg/m2', 'kg/m^2'], 1, 0),
    (array[4], array['m2', 'm^2'], 1, 0),
    (array[5, 6], array['/min', 'bpm', '{beats}/min', 'beats/min', '{breaths}/min', 'breaths/min', 'per minute',
                        'insp/min'], 1, 0),
    (array[7, 8], array['mmhg', 'mm[hg]', 'mm hg'], 1, 0),
    (array[9], array['°f', '[degf]', 'degf', 'f'], 1, 0),
    (array[9], array['cel', '°c', 'degc', 'c'], 1.8, 32),
    (array[10, 12], array['%'], 1, 0),
    (array[11], array['g/dl'], 1, 0),
    (array[11], array['g/l'], 0.1, 0),
    (array[13], array['10*6/ul', '10^6/ul', 'm/ul', '10*12/l', '10^12/l'], 1, 0),
    (array[14, 15], array['10*3/ul', '10^3/ul', 'k/ul', '10*9/l', '10^9/l'], 1, 0),
    (array[14, 15], array['/ul'], 0.001, 0),
    (array[16, 17, 18, 19, 24], array['mmol/l', 'meq/l'], 1, 0),
    (array[20, 21, 22, 23], array['mg/dl'], 1, 0),
    (array[20], array['mmol/l'], 4.0078, 0),
    (array[21], array['mmol/l'], 18.0156, 0),
    (array[22], array['mmol/l'], 2.8013, 0),
    (array[23], array['umol/l'], 0.0113118, 0)) as convert (positions, units, factor, shift),
       unnest(positions) as position, unnest(units) as unit;

-- Kept, because it is the same for every event of a concept: what timelines call it and which category it has.
-- Filled by triggers and by every upgrade from the views ehrdb.defined_text and ehrdb.defined_category.
create table ehrdb.concept_text (
    code_id  integer primary key references ehrdb.concept on delete cascade,
    text     text collate "C" not null,
    is_birth boolean not null
);
create table ehrdb.concept_category (
    rules    text collate "C" not null,
    code_id  integer not null references ehrdb.concept on delete cascade,
    category text not null,
    primary key (rules, code_id)
);
