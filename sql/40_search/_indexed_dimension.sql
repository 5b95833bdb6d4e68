create or replace function ehrdb.indexed_dimension(for_encoder_id integer) returns integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(max(trained.dimension) filter (where trained.dimension <= 1024), max(e.dimension))
      from ehrdb.encoder e
      left join lateral (select value::integer as dimension
                           from jsonb_array_elements_text(e.manifest -> 'matryoshka_dimensions')) trained
        on e.dimension > 1024
     where e.encoder_id = for_encoder_id;
end;

comment on function ehrdb.indexed_dimension(integer) is
'How many leading dimensions an encoder''s index holds: all, or, of more than 1,024, the largest number up to 1,024 that
the encoder was trained to be cut to (Matryoshka representations, Kusupati et al. 2022).';
