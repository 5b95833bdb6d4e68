create or replace function ehrdb.plan_moments(
    for_encoder_id integer, patient_ids bigint[], as_ofs timestamp[], for_prompt_id integer default null
) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    queued integer;
begin
    perform ehrdb.wait_to_plan();
    create temp table wanted on commit drop as
    with asked as materialized (
        select p.prompt_id, p.prompt from ehrdb.prompt p
         where case when for_prompt_id is not null then p.prompt_id = for_prompt_id
                    else p.prompt_id in (select ep.prompt_id from ehrdb.encoder_prompt ep
                                          where ep.encoder_id = for_encoder_id) end
    ), moment as materialized (
        -- What has its vector is right: whoever changed since is marked, and a refresh compares all moments of such.
        select distinct a.patient_id, a.as_of
          from unnest(patient_ids, as_ofs) a (patient_id, as_of)
          join ehrdb.patient known using (patient_id)
         where (select count(*)
                  from ehrdb.embedding_point n
                  join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
                 where n.encoder_id = for_encoder_id and n.prompt_id in (select q.prompt_id from asked q)
                   and n.patient_id = a.patient_id and n.as_of = a.as_of) < (select count(*) from asked)
    ), arrays as (
        select array_agg(m.patient_id order by m.patient_id, m.as_of) as patient_ids,
               array_agg(m.as_of order by m.patient_id, m.as_of) as as_ofs
          from moment m
    )
    select q.prompt_id, t.patient_id, t.as_of, false as is_current,
           ehrdb.content_sha256(q.prompt, t.text) as content_sha256, length(t.text) as characters
      from arrays
     cross join ehrdb.encoder e
     cross join lateral ehr.timelines(arrays.patient_ids, arrays.as_ofs, e.format) t
     cross join asked q
     where e.encoder_id = for_encoder_id and e.kind = 'model' and arrays.patient_ids is not null
       and (t.text <> '' or e.embeds_empty);

    queued := ehrdb.apply_plan(for_encoder_id);
    drop table pg_temp.wanted;
    return queued;
end
$$;

comment on function ehrdb.plan_moments(integer, bigint[], timestamp[], integer) is
'Queues the timelines of patients as of moments (parallel arrays) that have no vector yet, under this prompt (null: under
all of the encoder''s); returns how many contents are new. Moments with a vector are not read.';
