-- name: cdm
-- a CDM of so many patients with so many measurements each, keyed and indexed as the CDM's own scripts do
create schema cdm;
create table cdm.concept (
    concept_id integer primary key, concept_name text, vocabulary_id text, concept_code text, standard_concept text
);
insert into cdm.concept
select n, 'measurement ' || n, 'LOINC', n || '-1', 'S' from generate_series(1, 20000) n;
create table cdm.person (
    person_id bigint primary key, gender_concept_id integer, year_of_birth integer, race_concept_id integer,
    ethnicity_concept_id integer
);
insert into cdm.person select p, 0, 1930 + p %% 70, 0, 0 from generate_series(1, %(patients)s) p;
create table cdm.measurement (
    measurement_id bigint primary key, person_id bigint not null, measurement_concept_id integer not null,
    measurement_date date not null, measurement_datetime timestamp, value_as_number numeric, unit_source_value text
);
insert into cdm.measurement
select p * 1000 + n, p, 1 + (p * 7 + n * 31) %% 20000, date '2015-01-01' + n * 9, timestamp '2015-01-01 08:00' + n * interval '9 days',
       (p + n) %% 200 / 10.0, 'mg/dL'
  from generate_series(1, %(patients)s) p, generate_series(1, %(events)s) n;
create index on cdm.measurement (person_id);

-- name: change
-- one in so many patients has a measurement corrected; nobody at 0
update cdm.measurement
   set value_as_number = value_as_number + 1
 where %(step)s > 0 and person_id %% greatest(%(step)s, 1) = (17 + %(round)s) %% greatest(%(step)s, 1)
   and measurement_id %% 1000 = 5;
