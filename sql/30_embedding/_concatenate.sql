create or replace function ehrdb.concatenate(for_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- A part without prompts has its only points under the empty one; they go with every prompt of the other.
    create temp table joint on commit drop as
    select case when a.prompt_id = bare.prompt_id then b.prompt_id else a.prompt_id end as prompt_id, a.patient_id, a.as_of,
           sha256(a.content_sha256 || b.content_sha256) as content_sha256,
           a.content_sha256 as first_sha256, b.content_sha256 as second_sha256
      from ehrdb.encoder n
      join ehrdb.prompt bare on bare.prompt = ''
      join ehrdb.embedding_point a on a.encoder_id = n.first_part_id
      join ehrdb.embedding_point b on b.encoder_id = n.second_part_id
       and b.patient_id = a.patient_id and b.as_of = a.as_of
       and (b.prompt_id = a.prompt_id or bare.prompt_id in (a.prompt_id, b.prompt_id))
     where n.encoder_id = for_encoder_id;
    analyze pg_temp.joint;

    insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
    select distinct on (j.content_sha256)
           for_encoder_id, j.content_sha256, a.token_count + b.token_count, a.is_truncated or b.is_truncated,
           a.embedding operator(public.||) b.embedding
      from pg_temp.joint j
      join ehrdb.encoder n on n.encoder_id = for_encoder_id
      join ehrdb.embedding a on a.encoder_id = n.first_part_id and a.content_sha256 = j.first_sha256
      join ehrdb.embedding b on b.encoder_id = n.second_part_id and b.content_sha256 = j.second_sha256
     where not exists (select from ehrdb.embedding e
                        where e.encoder_id = for_encoder_id and e.content_sha256 = j.content_sha256)
        on conflict do nothing;
    delete from pg_temp.joint j
     where not exists (select from ehrdb.embedding e
                        where e.encoder_id = for_encoder_id and e.content_sha256 = j.content_sha256);

    delete from ehrdb.embedding_point p
     where p.encoder_id = for_encoder_id
       and not exists (select from pg_temp.joint j
                        where (j.prompt_id, j.patient_id, j.as_of) = (p.prompt_id, p.patient_id, p.as_of));
    insert into ehrdb.embedding_point as p
           (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)
    select for_encoder_id, j.prompt_id, j.patient_id, j.as_of, false, j.content_sha256 from pg_temp.joint j
        on conflict (encoder_id, prompt_id, patient_id, as_of) do update
       set content_sha256 = excluded.content_sha256
     where p.content_sha256 <> excluded.content_sha256;
    drop table pg_temp.joint;

    perform ehrdb.keep_newest_current(for_encoder_id);
end
$$;

comment on function ehrdb.concatenate(integer) is
'Brings a concatenation up to date with its two parts: their vectors side by side, where both know a patient as of
the same moment.';
