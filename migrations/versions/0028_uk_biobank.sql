-- The record as the paper writes it of the UK Biobank: codes of a stay at its admission, names alone.
alter table ehrdb.format drop constraint format_kind_check;
alter table ehrdb.format add constraint format_kind_check check (kind in ('list', 'graded', 'markdown', 'admission'));
insert into ehrdb.format (name, version, kind, rules, description)
values ('list_admission', 1, 'admission', 'paper',
        'Names of codes, newest first; those of a stay that is over at its admission. Then sex, ethnicity, Birth (the paper''s UK Biobank).')
on conflict (name) do nothing;
