-- A small OMOP CDM 5.4 with typed columns, as hospitals have it beside ehrdb. Every row is made up.
create schema cdm;
create schema vocab;

create table vocab.concept (
    concept_id integer, concept_name varchar(255), domain_id varchar(20), vocabulary_id varchar(20),
    concept_class_id varchar(20), standard_concept varchar(1), concept_code varchar(50)
);
insert into vocab.concept values
    (0, 'No matching concept', 'Metadata', 'None', 'Undefined', null, 'No matching concept'),
    (8507, 'MALE', 'Gender', 'Gender', 'Gender', 'S', 'M'),
    (8840, 'milligram per deciliter', 'Unit', 'UCUM', 'Unit', 'S', 'mg/dL'),
    (9201, 'Inpatient Visit', 'Visit', 'Visit', 'Visit', 'S', 'IP'),
    (8717, 'Inpatient Hospital', 'Visit', 'CMS Place of Service', 'Visit', null, '21'),
    (32037, 'Intensive Care', 'Visit', 'Visit', 'Visit', 'S', 'OMOP4822460'),
    (201826, 'Type 2 diabetes mellitus', 'Condition', 'SNOMED', 'Disorder', 'S', '44054006'),
    (201820, 'Diabetes mellitus', 'Condition', 'SNOMED', 'Disorder', 'S', '73211009'),
    (45561949, 'Type 2 diabetes without complications', 'Condition', 'ICD10CM', 'billing code', null, 'E11.9'),
    (3004501, 'Glucose in serum', 'Measurement', 'LOINC', 'Lab Test', 'S', '2345-7');
create table vocab.concept_relationship (
    concept_id_1 integer, concept_id_2 integer, relationship_id varchar(20), invalid_reason varchar(1)
);
insert into vocab.concept_relationship values (201826, 201820, 'Is a', null), (201820, 201826, 'Subsumes', null);

create table cdm.person (
    person_id integer primary key, gender_concept_id integer, year_of_birth integer, month_of_birth integer,
    day_of_birth integer, birth_datetime timestamp, race_concept_id integer, ethnicity_concept_id integer
);
insert into cdm.person values (1, 8507, 1950, 2, 3, null, 0, 0), (2, 8507, 1960, null, null, '1960-05-06 07:08', 0, 0);
create table cdm.visit_occurrence (
    visit_occurrence_id integer primary key, person_id integer, visit_concept_id integer, visit_start_date date,
    visit_start_datetime timestamp, visit_end_date date, visit_end_datetime timestamp
);
insert into cdm.visit_occurrence values
    (10, 1, 9201, '2020-03-01', '2020-03-01 09:30', '2020-03-05', '2020-03-05 12:00'),
    (11, 2, 8717, '2020-04-01', null, '2020-04-02', null);
create table cdm.visit_detail (
    visit_detail_id integer primary key, person_id integer, visit_detail_concept_id integer,
    visit_detail_start_date date, visit_detail_start_datetime timestamp, visit_detail_end_date date,
    visit_detail_end_datetime timestamp, visit_occurrence_id integer, care_site_id integer
);
insert into cdm.visit_detail values
    (20, 1, 32037, '2020-03-02', '2020-03-02 01:00', '2020-03-03', '2020-03-03 02:00', 10, 77);
create table cdm.condition_occurrence (
    condition_occurrence_id integer primary key, person_id integer, condition_concept_id integer,
    condition_start_date date, condition_start_datetime timestamp, condition_source_value varchar(50),
    condition_source_concept_id integer, visit_occurrence_id integer
);
insert into cdm.condition_occurrence values
    (30, 1, 201826, '2020-03-01', null, 'E11.9', 45561949, 10),
    (31, 1, 0, '2020-03-01', null, 'E11.9', 45561949, 10),
    (32, 2, 0, '2020-04-01', null, 'LOCAL1', 0, null);
create table cdm.measurement (
    measurement_id integer primary key, person_id integer, measurement_concept_id integer, measurement_date date,
    measurement_datetime timestamp, value_as_number numeric, value_as_concept_id integer, unit_concept_id integer,
    unit_source_value varchar(50), visit_occurrence_id integer
);
insert into cdm.measurement values
    (40, 1, 3004501, '2020-03-01', '2020-03-01 10:15:30', 105.5, null, 8840, 'mg/dl', 10),
    (41, 1, 3004501, '2020-03-01', '2020-03-01 10:15:30', 99, null, 8840, null, 10);
create table cdm.death (person_id integer, death_date date, death_datetime timestamp);
insert into cdm.death values (2, '2021-01-01', null);
