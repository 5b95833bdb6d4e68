-- Timeline: what formats are made of, as data that a site can read and adapt.

-- Vocabularies whose events no format shows (the paper's `no_unres` setting). Blanks are written `_`.
create table ehrdb.excluded_vocabulary (
    vocabulary text collate "C" primary key
);
insert into ehrdb.excluded_vocabulary values ('CARE_SITE'), ('ICDO3');

-- The category of a code is that of the first rule that holds: its prefix, its code, or for SNOMED being a code or one
-- of its descendants. Codes that no rule covers are conditions.
create table ehrdb.category_rule (
    rule     integer primary key,
    kind     text not null check (kind in ('prefix', 'code', 'descendant')),
    pattern  text collate "C" not null,
    category text not null check (
        category in ('demographics', 'visits', 'conditions', 'medications', 'procedures', 'labs'))
);
insert into ehrdb.category_rule (rule, kind, pattern, category) values
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
    (24, 'descendant', 'SNOMED/71388002', 'procedures');
