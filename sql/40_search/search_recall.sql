create or replace function ehr.search_recall(
    k integer default 10, sample integer default 100, encoder text default null,
    out is_indexed boolean, out queries integer, out recall float8, out worst float8
) returns record
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('search_recall');
    with asked as (
        select s.encoder_id, s.patient_id, s.embedding
          from ehrdb.patient_embedding s
         where s.encoder_id = ehrdb.encoder_id($3) and ehrdb.is_count($1, 'k') and ehrdb.is_count($2, 'sample')
         order by hashint8(s.patient_id), s.patient_id
         limit case when ehrdb.is_count($2, 'sample') then $2 end  -- with none to find, what is above is not reached
    ), answered as (
        select ehrdb.search_by_index(a.encoder_id, null) as by_index,
               ehrdb.nearest_exact(a.encoder_id, a.embedding, $1, null, a.patient_id) as exact,
               case when ehrdb.search_by_index(a.encoder_id, null)
                    then ehrdb.nearest_by_index(a.encoder_id, a.embedding, $1, null, a.patient_id) end as approximate
          from asked a
    ), compared as (
        select by_index,
               case when not by_index or exact is null then 1
                    else (select count(*) from unnest(exact) e where e = any (approximate))::float8
                         / cardinality(exact) end as found
          from answered
    )
    select coalesce(bool_or(by_index), false), count(*)::integer, avg(found), min(found) from compared
$$;

comment on function ehr.search_recall(integer, integer, text) is
'How complete searches among all patients are.
For a fixed sample of patients, the share of the true k nearest that ehr.nearest_patients finds (recall@k, mean and
worst). 1 where no index is asked (is_indexed false): those are exact.
Example: select * from ehr.search_recall(10, 100);';
