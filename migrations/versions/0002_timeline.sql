-- Timeline: what a format is made of, as data.

-- Vocabularies whose events no format shows (the paper's `no_unres` setting).
create table ehrdb.excluded_vocabulary (
    vocabulary text collate "C" primary key
);
insert into ehrdb.excluded_vocabulary values ('CARE_SITE'), ('ICDO3');
