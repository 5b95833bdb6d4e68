-- What a concatenation is made of, in order. `name` is how weights call a part. Before, there were two, in the encoder's
-- columns first_part_id and second_part_id, which nothing reads any more.
create table ehrdb.encoder_part (
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    place      integer not null check (place > 0),
    name       text not null,
    part_id    integer not null references ehrdb.encoder,
    primary key (encoder_id, place),
    unique (encoder_id, name)
);
create index encoder_part_of on ehrdb.encoder_part (part_id);
insert into ehrdb.encoder_part (encoder_id, place, name, part_id)
select e.encoder_id, v.place, p.name, p.encoder_id
  from ehrdb.encoder e
 cross join lateral (values (1, e.first_part_id), (2, e.second_part_id)) v (place, part_id)
  join ehrdb.encoder p on p.encoder_id = v.part_id;

alter table ehrdb.encoder drop constraint parts;
update ehrdb.encoder set first_part_id = null, second_part_id = null where kind = 'concatenation';
-- Whether an empty text is embedded too, as the part of a concatenation is: under an instruction like any other text,
-- without one as a vector of zeros.
alter table ehrdb.encoder add column embeds_empty boolean not null default false;
