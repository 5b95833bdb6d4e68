create or replace function ehr.patients_by_words(words text, k integer default 10, cohort bigint[] default null)
returns table (rank integer, patient_id bigint, score float8, found text[])
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('patients_by_words', cohort => $3);
    with asked as materialized (
        select w.word, w.query from ehrdb.asked_words($1) w where ehrdb.is_count($2, 'k') and ehrdb.is_cohort($3)
    ), named as (
        -- The expressions are those of the indexes concept_by_word and concept_text_by_word.
        select a.word, n.code_id
          from asked a
         cross join lateral (
            select c.code_id
              from ehrdb.concept c
             where to_tsvector('pg_catalog.simple', translate(left(c.description, 10000), '/_', '  ')) @@ a.query
            union
            select t.code_id
              from ehrdb.concept_text t
             where to_tsvector('pg_catalog.simple', translate(left(t.text, 10000), '/_', '  ')) @@ a.query) n
    ), telling as (
        -- What everybody has several times over tells nobody from another, and is most of what there would be to read.
        select n.word from named n left join ehrdb.concept_frequency f using (code_id)
         group by n.word
        having row_security_active('ehrdb.patient') or sum(f.patients) is null
            or sum(f.patients) < 5 * (select count(*) from ehrdb.patient)
    ), together as materialized (
        -- "Heart failure" says more than a heart rate and a respiratory failure.
        select n.word, n.code_id, count(*) over (partition by n.code_id) as words from named n join telling t using (word)
    ), held as materialized (
        -- Of a patient's events of a concept exactly one is valid for ever.
        select t.word, e.patient_id, max(t.words) as words
          from together t
          join ehrdb.event e on e.code_id = t.code_id and e.valid_to = 'infinity'
         where $3 is null or e.patient_id in (select unnest($3))
         group by t.word, e.patient_id
    ), weight as (
        select h.word, ln(1 + (select count(*) from ehrdb.patient) / count(*)::float8) as weight from held h group by h.word
    ), scored as (
        select h.patient_id, sum(w.weight * h.words) as score, array_agg(h.word order by w.weight desc, h.word) as found
          from held h join weight w using (word)
         group by h.patient_id
    )
    select rank() over (order by s.score desc)::integer as rank, s.patient_id, s.score, s.found
      from scored s
     order by rank, s.patient_id
     limit case when ehrdb.is_count($2, 'k') then $2 end  -- with none to find, what is above is not reached
$$;

comment on function ehr.patients_by_words(text, integer, bigint[]) is
'The k patients whose concepts hold most of the words, rare words and words of one concept counting more.
Equal scores share a rank; found: which words. Endings are nothing ("diseases" finds "disease"), nor are words that every
patient has five times on average. No worker is needed. No row where no concept of anybody holds a word; EH010 for no words.
Example: select * from ehr.patients_by_words(''heart failure and chronic kidney disease'', 5);';
