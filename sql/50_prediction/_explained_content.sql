create or replace function ehrdb.explained_content(
    for_encoder_id integer, for_prompt_id integer, patient_id bigint, moment timestamp, shown text
) returns bytea
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case when count(e.part_id) = 0 then ehrdb.content_sha256(p.prompt, shown)
                else sha256(ehrdb.content_sha256(p.prompt, shown)
                            || string_agg(ehrdb.content_sha256('', t.text), ''::bytea order by e.place)) end
      from ehrdb.prompt p
      left join ehrdb.encoder_part e on e.encoder_id = for_encoder_id
      left join ehrdb.encoder n on n.encoder_id = e.part_id
      left join lateral ehr.timelines(array[explained_content.patient_id], array[moment], n.format) t on n.format is not null
     where p.prompt_id = for_prompt_id
     group by p.prompt;
end;

comment on function ehrdb.explained_content(integer, integer, bigint, timestamp, text) is
'What an explanation is of: the prompt and the text that is shown, and of a concatenation the text of each part.';
