-- Encoders that no model is run for: imported vectors, and concatenations of two other encoders.

alter table ehrdb.encoder
    add column kind text not null default 'model' check (kind in ('model', 'import', 'concatenation')),
    add column first_part_id integer references ehrdb.encoder,
    add column second_part_id integer references ehrdb.encoder,
    add constraint parts check ((kind = 'concatenation') = (first_part_id is not null)
                            and (first_part_id is null) = (second_part_id is null)),
    add constraint model check (kind <> 'model' or (max_tokens, pooling, precision, format, format_version) is not null),
    alter column max_tokens drop not null,
    alter column pooling drop not null,
    alter column precision drop not null,
    alter column format drop not null,
    alter column format_version drop not null;
