-- A model's files, in parts of some megabytes, for workers that have none: what the encoder's manifest names.
create table ehrdb.encoder_file (
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    name       text not null check (name !~ '/' and name not in ('', '.', '..')),
    part       integer not null check (part >= 0),
    content    bytea not null,
    primary key (encoder_id, name, part)
);
alter table ehrdb.encoder_file alter column content set storage external; -- weights do not compress
