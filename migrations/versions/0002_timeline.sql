-- Timeline: what formats are made of, as data that a site can read and adapt, and what is kept of it per concept.

-- `rules` names the set of category rules, aggregated concepts and visit sections that a format uses: a site's
-- own format is a copy of those rows under another name (docs/timeline-formats.md). The version enters the
-- identity of an encoder: raise it when the format's text changes. `has_slips`: a Markdown document takes a
-- patient's first three or four facts for the demographics and hides all that begins with Birth, as the paper's
-- code does; otherwise demographics are what the category rules say.
create table ehrdb.format (
    name        text collate "C" primary key check (name ~ '^[a-z][a-z0-9_]*$'),
    version     integer not null check (version > 0),
    kind        text not null check (kind in ('list', 'graded', 'markdown')),
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
     'The same without the evident slips of the paper''s rules.'),
    ('list_graded', 1, 'graded', true, false, false, 'graded',
     'Latest value of each code, newest first, numbers in words by their reference intervals; age by decade.');

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
select own.rules, r.rule, r.kind, r.pattern, r.category
  from ehrdb.category_rule r cross join (values ('corrected'), ('graded')) as own (rules) where r.rules = 'paper';

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
-- beside, and an event in yet another unit is shown in the visits instead. `step`: how far beyond the normal range one
-- degree of a graded list goes; a range open on one side has a null there.
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
    step        float8 check (step > 0),
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
select 'paper', *, true, null from (values
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
       case concept when 'Body temperature' then 100.4 else normal_high end::real, decimals, false, null
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

-- What a graded list says in words. Adults' reference intervals where a laboratory's own are not known: after the
-- American Board of Internal Medicine's list (2024), both sexes together, glucose as at any time of day; vital signs as
-- commonly taught. Steps are ours. A unit '' stands for none.
insert into ehrdb.aggregated_concept
select 'graded', position, section, concept, unit, low::real, high::real, normal_low::real, normal_high::real, 2, false,
       step
  from (values
    (1, 'Vital signs', 'Body temperature', 'Cel', 25, 45, 36, 38, 1),
    (2, 'Vital signs', 'Heart rate', '/min', 5, 300, 60, 100, 20),
    (3, 'Vital signs', 'Respiratory rate', '/min', 1, 100, 12, 20, 6),
    (4, 'Vital signs', 'Systolic blood pressure', 'mm[Hg]', 20, 300, 90, 140, 30),
    (5, 'Vital signs', 'Diastolic blood pressure', 'mm[Hg]', 10, 200, 60, 90, 20),
    (6, 'Vital signs', 'Mean blood pressure', 'mm[Hg]', 10, 250, 70, 100, 20),
    (7, 'Vital signs', 'Oxygen saturation', '%', 1, 100, 95, null, 4),
    (8, 'Vital signs', 'Glasgow coma score', '', 3, 15, 15, null, 3),
    (9, 'Vital signs', 'Inhaled oxygen concentration', '%', 15, 100, null, 40, 20),
    (10, 'Vital signs', 'Body mass index', 'kg/m2', 10, 100, 18.5, 24.9, 5),
    (11, 'Blood count', 'Hemoglobin', 'g/dL', 1, 25, 12, 17, 2),
    (12, 'Blood count', 'Hematocrit', '%', 5, 75, 36, 50, 6),
    (13, 'Blood count', 'Erythrocytes', '10*6/uL', 0.5, 10, 4.2, 5.9, 0.8),
    (14, 'Blood count', 'Leukocytes', '10*3/uL', 0, 500, 4, 11, 5),
    (15, 'Blood count', 'Platelets', '10*3/uL', 0, 3000, 150, 400, 150),
    (16, 'Chemistry', 'Sodium', 'mmol/L', 90, 200, 136, 145, 6),
    (17, 'Chemistry', 'Potassium', 'mmol/L', 1, 12, 3.5, 5, 0.8),
    (18, 'Chemistry', 'Chloride', 'mmol/L', 50, 170, 98, 106, 6),
    (19, 'Chemistry', 'Bicarbonate', 'mmol/L', 2, 70, 22, 28, 5),
    (20, 'Chemistry', 'Calcium', 'mg/dL', 2, 20, 8.6, 10.2, 1.2),
    (21, 'Chemistry', 'Magnesium', 'mg/dL', 0.2, 15, 1.6, 2.6, 0.5),
    (22, 'Chemistry', 'Phosphate', 'mg/dL', 0.2, 30, 2.5, 4.5, 1.2),
    (23, 'Chemistry', 'Anion gap', 'mmol/L', -20, 60, 3, 11, 6),
    (24, 'Chemistry', 'Glucose', 'mg/dL', 5, 2000, 70, 140, 50),
    (25, 'Chemistry', 'Urea nitrogen', 'mg/dL', 1, 300, 8, 20, 12),
    (26, 'Chemistry', 'Creatinine', 'mg/dL', 0.05, 40, 0.6, 1.2, 0.5),
    (27, 'Chemistry', 'Glomerular filtration rate', 'mL/min/1.73 m2', 1, 250, 60, null, 20),
    (28, 'Chemistry', 'Uric acid', 'mg/dL', 0.2, 40, 2.5, 8, 3),
    (29, 'Chemistry', 'Albumin', 'g/dL', 0.5, 8, 3.5, 5.5, 0.8),
    (30, 'Chemistry', 'Protein', 'g/dL', 1, 15, 5.5, 9, 1),
    (31, 'Chemistry', 'Bilirubin', 'mg/dL', 0, 80, 0.3, 1.2, 1),
    (32, 'Chemistry', 'Alanine aminotransferase', 'U/L', 1, 20000, 7, 40, 40),
    (33, 'Chemistry', 'Aspartate aminotransferase', 'U/L', 1, 20000, 10, 40, 40),
    (34, 'Chemistry', 'Alkaline phosphatase', 'U/L', 1, 5000, 30, 120, 80),
    (35, 'Chemistry', 'Lactate dehydrogenase', 'U/L', 10, 20000, 80, 225, 150),
    (36, 'Chemistry', 'Lactate', 'mmol/L', 0.1, 40, null, 2, 1.5),
    (37, 'Chemistry', 'Troponin I', 'ng/mL', 0, 1000, null, 0.04, 0.2),
    (38, 'Chemistry', 'Troponin T', 'ng/mL', 0, 100, null, 0.01, 0.1),
    (39, 'Chemistry', 'Natriuretic peptide B', 'pg/mL', 0, 50000, null, 100, 200),
    (40, 'Chemistry', 'C reactive protein', 'mg/L', 0, 1000, null, 8, 40),
    (41, 'Chemistry', 'Cholesterol', 'mg/dL', 20, 1500, null, 200, 40),
    (42, 'Chemistry', 'Cholesterol in LDL', 'mg/dL', 5, 1000, null, 130, 30),
    (43, 'Chemistry', 'Cholesterol in HDL', 'mg/dL', 2, 200, 40, null, 10),
    (44, 'Chemistry', 'Triglyceride', 'mg/dL', 10, 10000, null, 150, 100),
    (45, 'Chemistry', 'Hemoglobin A1c', '%', 2, 25, 4, 5.7, 1),
    (46, 'Chemistry', 'Thyrotropin', 'm[IU]/L', 0, 500, 0.5, 5, 4),
    (47, 'Chemistry', 'INR', '', 0.5, 30, null, 1.2, 0.8),
    (48, 'Blood gases', 'pH', '', 6.5, 8, 7.35, 7.45, 0.08),
    (49, 'Blood gases', 'Carbon dioxide pressure', 'mm[Hg]', 5, 200, 35, 45, 8),
    (50, 'Blood gases', 'Oxygen pressure', 'mm[Hg]', 10, 700, 75, 100, 25)) as concept
    (position, section, concept, unit, low, high, normal_low, normal_high, step);
insert into ehrdb.aggregated_code (rules, position, code)
select 'graded', position, unnest(codes) from (values
    (1, array['LOINC/8310-5', 'SNOMED/386725007']),
    (2, array['LOINC/8867-4', 'SNOMED/364075005', 'SNOMED/78564009']),
    (3, array['LOINC/9279-1', 'SNOMED/86290005']),
    (4, array['LOINC/8480-6', 'LOINC/76215-3', 'LOINC/76534-7', 'SNOMED/271649006']),
    (5, array['LOINC/8462-4', 'LOINC/76213-8', 'LOINC/76535-4', 'SNOMED/271650006']),
    (6, array['LOINC/8478-0', 'LOINC/76214-6', 'LOINC/76536-2', 'SNOMED/6797001']),
    (7, array['LOINC/LP21258-6', 'LOINC/2708-6', 'LOINC/59408-5', 'LOINC/20564-1', 'LOINC/51733-4']),
    (8, array['LOINC/9269-2', 'LOINC/35088-4']),
    (9, array['LOINC/3150-6', 'LOINC/3151-4', 'LOINC/19935-6', 'LOINC/19996-8']),
    (10, array['LOINC/39156-5']),
    (11, array['LOINC/718-7', 'SNOMED/271026005', 'SNOMED/441689006']),
    (12, array['LOINC/4544-3', 'LOINC/20570-8', 'LOINC/48703-3', 'SNOMED/28317006']),
    (13, array['LOINC/789-8', 'LOINC/26453-1']),
    (14, array['LOINC/20584-9', 'LOINC/6690-2', 'LOINC/26464-8', 'LOINC/804-5']),
    (15, array['LOINC/777-3', 'LOINC/26515-7', 'SNOMED/61928009']),
    (16, array['LOINC/2951-2', 'LOINC/2947-0', 'SNOMED/25197003']),
    (17, array['LOINC/2823-3', 'LOINC/6298-4', 'SNOMED/312468003', 'SNOMED/59573005']),
    (18, array['LOINC/2075-0', 'LOINC/2069-3', 'SNOMED/104589004']),
    (19, array['LOINC/2028-9', 'LOINC/1963-8', 'LOINC/1959-6', 'LOINC/1960-4', 'LOINC/20565-8']),
    (20, array['LOINC/17861-6', 'SNOMED/271240001']),
    (21, array['LOINC/2601-3', 'LOINC/19123-9']),
    (22, array['LOINC/2777-1']),
    (23, array['LOINC/33037-3', 'LOINC/41276-7', 'LOINC/1863-0', 'SNOMED/25469001']),
    (24, array['LOINC/2345-7', 'LOINC/2339-0', 'LOINC/14749-6', 'LOINC/41653-7', 'SNOMED/166900001',
               'SNOMED/33747003']),
    (25, array['LOINC/3094-0', 'LOINC/6299-2', 'SNOMED/105011006']),
    (26, array['LOINC/2160-0', 'LOINC/38483-4', 'SNOMED/113075003']),
    (27, array['LOINC/33914-3', 'LOINC/48642-3', 'LOINC/48643-1', 'LOINC/62238-1', 'LOINC/98979-8', 'LOINC/69405-9']),
    (28, array['LOINC/3084-1']),
    (29, array['LOINC/1751-7', 'LOINC/61151-7']),
    (30, array['LOINC/2885-2']),
    (31, array['LOINC/1975-2', 'LOINC/42719-5']),
    (32, array['LOINC/1742-6', 'LOINC/1743-4']),
    (33, array['LOINC/1920-8']),
    (34, array['LOINC/6768-6']),
    (35, array['LOINC/2532-0', 'LOINC/14804-9']),
    (36, array['LOINC/2524-7', 'LOINC/32693-4', 'LOINC/2518-9', 'LOINC/2519-7']),
    (37, array['LOINC/10839-9', 'LOINC/42757-5']),
    (38, array['LOINC/6598-7', 'LOINC/48425-3']),
    (39, array['LOINC/30934-9', 'LOINC/42637-9']),
    (40, array['LOINC/1988-5']),
    (41, array['LOINC/2093-3', 'LOINC/14647-2']),
    (42, array['LOINC/13457-7', 'LOINC/18262-6', 'LOINC/2089-1']),
    (43, array['LOINC/2085-9', 'LOINC/14646-4']),
    (44, array['LOINC/2571-8', 'LOINC/3043-7']),
    (45, array['LOINC/4548-4', 'LOINC/17856-6']),
    (46, array['LOINC/3016-3', 'LOINC/11580-8', 'LOINC/11579-0']),
    (47, array['LOINC/6301-6', 'LOINC/34714-6']),
    (48, array['LOINC/2744-1', 'LOINC/11558-4', 'LOINC/2746-6']),
    (49, array['LOINC/2019-8', 'LOINC/11557-6', 'LOINC/2021-4']),
    (50, array['LOINC/2703-7', 'LOINC/11556-8'])) as concept (position, codes);
insert into ehrdb.aggregated_unit (rules, position, unit, factor, shift)
select 'graded', position, unit, factor, shift
  from (values
    (array[1], array['cel', '°c', 'degc', 'c'], 1, 0),
    (array[1], array['°f', '[degf]', 'degf', 'f'], 1 / 1.8, -32 / 1.8),
    (array[2, 3], array['/min', 'bpm', '{beats}/min', 'beats/min', '{breaths}/min', 'breaths/min', 'per minute',
                        'insp/min'], 1, 0),
    (array[4, 5, 6, 49, 50], array['mmhg', 'mm[hg]', 'mm hg'], 1, 0),
    (array[49, 50], array['kpa'], 7.50062, 0),
    (array[7, 9, 12, 45], array['%'], 1, 0),
    (array[7, 9], array['fraction'], 100, 0),
    (array[8, 47, 48], array['', '1', '{score}', '{inr}', '{ph}', '[ph]', 'ph', 'points', 'score'], 1, 0),
    (array[10], array['kg/m2', 'kg/m^2'], 1, 0),
    (array[11, 29, 30], array['g/dl'], 1, 0),
    (array[11, 29, 30], array['g/l'], 0.1, 0),
    (array[13], array['10*6/ul', '10^6/ul', 'm/ul', '10*12/l', '10^12/l'], 1, 0),
    (array[14, 15], array['10*3/ul', '10^3/ul', 'k/ul', '10*9/l', '10^9/l', 'cells/nl', '1000/ul'], 1, 0),
    (array[14, 15], array['/ul', 'cells/ul'], 0.001, 0),
    (array[16, 17, 18, 19, 23], array['mmol/l', 'meq/l'], 1, 0),
    (array[20, 21, 22, 24, 25, 26, 28, 31, 41, 42, 43, 44], array['mg/dl'], 1, 0),
    (array[20], array['mmol/l'], 4.0078, 0),
    (array[21], array['mmol/l'], 2.4305, 0),
    (array[22], array['mmol/l'], 3.0974, 0),
    (array[24], array['mmol/l'], 18.0156, 0),
    (array[25], array['mmol/l'], 2.8013, 0),
    (array[26], array['umol/l'], 0.0113118, 0),
    (array[27], array['ml/min/{1.73_m2}', 'ml/min/1.73.m2', 'ml/min/1.73 m2', 'ml/min/1.73m2', 'ml/min'], 1, 0),
    (array[28], array['umol/l'], 0.01681, 0),
    (array[31], array['umol/l'], 1 / 17.104, 0),
    (array[32, 33, 34, 35], array['u/l', 'iu/l', '[iu]/l'], 1, 0),
    (array[36], array['mmol/l', 'meq/l'], 1, 0),
    (array[36], array['mg/dl'], 0.111, 0),
    (array[37, 38], array['ng/ml', 'ug/l'], 1, 0),
    (array[37, 38], array['ng/l', 'pg/ml'], 0.001, 0),
    (array[39], array['pg/ml', 'ng/l'], 1, 0),
    (array[40], array['mg/l'], 1, 0),
    (array[40], array['mg/dl'], 10, 0),
    (array[41, 42, 43], array['mmol/l'], 38.67, 0),
    (array[44], array['mmol/l'], 88.57, 0),
    (array[46], array['m[iu]/l', 'u[iu]/ml', 'miu/l', 'uiu/ml'], 1, 0)) as convert (positions, units, factor, shift),
       unnest(positions) as position, unnest(units) as unit;

-- Kept, because it is the same for every event of a concept: what timelines call it and which category it has.
-- Filled by triggers and by every upgrade from the views ehrdb.defined_text and ehrdb.defined_category.
create table ehrdb.concept_text (
    code_id  integer primary key references ehrdb.concept on delete cascade,
    text     text collate "C" not null,
    is_birth boolean not null
);
create index concept_text_by_word on ehrdb.concept_text
    using gin (to_tsvector('pg_catalog.simple', translate(left(text, 10000), '/_', '  ')));
create table ehrdb.concept_category (
    rules    text collate "C" not null,
    code_id  integer not null references ehrdb.concept on delete cascade,
    category text not null,
    primary key (rules, code_id)
);
