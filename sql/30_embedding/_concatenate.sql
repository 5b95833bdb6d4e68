create or replace function ehrdb.concatenate(for_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    part_ids constant integer[] := array(
        select t.part_id from ehrdb.encoder_part t where t.encoder_id = for_encoder_id order by t.place);
begin
    perform ehrdb.hold_patients();
    -- A part without prompts has its only points under the empty one; they go with every prompt of the others.
    create temp table joint on commit drop as
    with part as (
        select t.place, t.part_id, coalesce((n.manifest ->> 'prompt_template')::boolean, false) as is_instructed
          from ehrdb.encoder_part t
          join ehrdb.encoder n on n.encoder_id = t.part_id
         where t.encoder_id = for_encoder_id
    ), asked as (
        select distinct p.prompt_id
          from part join ehrdb.embedding_point p on p.encoder_id = part.part_id
         where part.is_instructed or not exists (select from part i where i.is_instructed)
    ), point as (
        select q.prompt_id, p.patient_id, p.as_of, part.place, p.content_sha256,
               p.content_sha256 = ehrdb.content_sha256(m.prompt, '') as is_empty
          from part
          join ehrdb.embedding_point p on p.encoder_id = part.part_id
          join ehrdb.prompt m on m.prompt_id = p.prompt_id
          join asked q on q.prompt_id = p.prompt_id or not part.is_instructed
    )
    select p.prompt_id, p.patient_id, p.as_of, array_agg(p.content_sha256 order by p.place) as contents,
           sha256(string_agg(p.content_sha256, '' order by p.place)) as content_sha256
      from point p
     group by p.prompt_id, p.patient_id, p.as_of
    having count(*) = cardinality(part_ids) and not bool_and(p.is_empty);
    analyze pg_temp.joint;

    execute (
        select format('insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
                       select distinct on (j.content_sha256) %s, j.content_sha256, %s, %s, %s
                         from pg_temp.joint j%s
                        where not exists (select from ehrdb.embedding e
                                           where e.encoder_id = %1$s and e.content_sha256 = j.content_sha256)
                           on conflict do nothing',
                      for_encoder_id,
                      string_agg(format('e%s.token_count', place), ' + '),
                      string_agg(format('e%s.is_truncated', place), ' or '),
                      string_agg(format('e%s.embedding', place), ' operator(public.||) ' order by place),
                      string_agg(format(' join ehrdb.embedding e%s on e%1$s.encoder_id = %s
                                           and e%1$s.content_sha256 = j.contents[%1$s]', place, part_id), ''))
          from unnest(part_ids) with ordinality p (part_id, place));
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
'Brings a concatenation up to date with its parts: their vectors side by side, where all know a patient as of the same moment.
A part that embeds empty texts knows everybody; where all parts are empty there is no vector.';
