create or replace function ehr.nearest_at(
    patient_ids bigint[], as_ofs timestamp[], k integer default 10, candidate_ids bigint[] default null,
    candidate_as_ofs timestamp[] default null, encoder text default null
) returns table (
    "position" integer, patient_id bigint, as_of timestamp, rank integer, neighbour_id bigint, neighbour_as_of timestamp,
    similarity float8, reason text
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('nearest_at', $1, $4);
    with candidate as materialized (
        select c.patient_id, c.moment, c.embedding, c.reason
          from ehrdb.encoder n
         cross join (select array_agg(d.patient_id) as patient_ids, array_agg(d.moment) as moments
                       from (select distinct u.patient_id, u.moment
                               from unnest(coalesce($4, $1), coalesce($5, $2)) u (patient_id, moment)) d) listed
         cross join lateral ehrdb.vectors_at(n.encoder_id, n.prompt_id, listed.patient_ids, listed.moments) c
         where n.encoder_id = ehrdb.encoder_id($6)
           and ehrdb.are_pairs($1, $2) and ehrdb.are_pairs(coalesce($4, $1), coalesce($5, $2)) and ehrdb.is_count($3, 'k')
    ), missing as materialized (
        -- An answer among the others would change with the next refresh.
        select format('%s candidates are not embedded as of their moments', count(*)) as reason
          from candidate c where c.reason = 'not embedded as of then'
        having count(*) > 0
    )
    select a.place, a.patient_id, a.moment, b.rank::integer, b.patient_id, b.moment, 1 - b.distance,
           coalesce(a.reason, (select m.reason from missing m), case when b.patient_id is null then 'nobody to compare with' end)
      from ehrdb.encoder n
     cross join lateral ehrdb.vectors_at(n.encoder_id, n.prompt_id, $1, $2) a
      left join lateral (
        select row_number() over (order by d.distance, d.patient_id, d.moment) as rank, d.*
          from (select c.patient_id, c.moment, c.embedding operator(public.<=>) a.embedding as distance
                  from candidate c
                 where c.reason is null and c.patient_id <> a.patient_id
                 order by 3, 1, 2
                 limit greatest($3, 0)) d) b on a.reason is null and not exists (select from missing)
     where n.encoder_id = ehrdb.encoder_id($6)
     order by a.place, b.rank;
end;

comment on function ehr.nearest_at(bigint[], timestamp[], integer, bigint[], timestamp[], text) is
'The k records most similar to each patient''s as of a moment of their own.
Compared are candidates as of moments of theirs, two parallel lists as well; without them the pairs among themselves. Never
with the same patient at another moment. A candidate''s moment may be later than the one compared with: give what may be
known. A pair without a vector of its text has one row, and reason says why; so has every pair where candidates with a
record are not embedded as of their moments (`ehrdb refresh --at` embeds such). All are compared: exact. EH007: lists that
do not fit together.
Example: select n.* from ehr.cohort_moments(7) c, ehr.nearest_at(c.patient_ids, c.as_ofs, 5) n;';
