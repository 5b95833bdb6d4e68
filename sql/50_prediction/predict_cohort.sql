create or replace function ehr.predict_cohort(
    task text, cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.prediction
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
declare
    head constant ehrdb.head := ehrdb.head_of($1, ehrdb.encoder_id($4));
begin
    if $3 = 'infinity' and head.prompt_id = (select n.prompt_id from ehrdb.encoder n
                                              where n.encoder_id = head.encoder_id) then
        return query
        select s.patient_id, ehrdb.head_probability(head, s.embedding), s.as_of, ehrdb.is_stale(s)
          from ehrdb.patient_embedding s
         where s.encoder_id = head.encoder_id and ($2 is null or s.patient_id = any ($2));
    else
        return query
        select distinct on (p.patient_id) p.patient_id, ehrdb.head_probability(head, e.embedding), p.as_of,
               exists (select from ehrdb.event v
                        where v.patient_id = p.patient_id and v.time > p.as_of and v.time <= $3)
          from ehrdb.embedding_point p
          join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
         where p.encoder_id = head.encoder_id and p.prompt_id = head.prompt_id
           and p.as_of <= $3 and ($2 is null or p.patient_id = any ($2))
         order by p.patient_id, p.as_of desc;
    end if;
end
$$;

comment on function ehr.predict_cohort(text, bigint[], timestamp, text) is
'Probability of the task''s outcome for every embedded member of a cohort (null: all patients), in one pass,
with the moment up to which the record was known and whether it changed since.
Example: select * from ehr.predict_cohort(''guo_readmission'') order by probability desc limit 10;';
