-- False for demographics, visits and their like, which explain no likeness; set whenever concepts are counted.
alter table ehrdb.concept_frequency add column is_clinical boolean not null default true;
