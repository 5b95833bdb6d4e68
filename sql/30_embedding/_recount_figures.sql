create or replace function ehrdb.recount_figures() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    wrong bigint;
begin
    -- One statement, so one view of the data and of what was kept about it.
    with taken as (
        delete from ehrdb.figure f returning f.*
    ), kept as (
        select t.source, t.encoder_id,
               array[sum(t.patients), sum(t.events), sum(t.embedded), sum(t.contents), sum(t.truncated), sum(t.queued)]::bigint[] as figures
          from taken t
         group by t.source, t.encoder_id
    ), record as (
        select e.patient_id, count(*) as events from ehrdb.event e group by e.patient_id
    ), counted as materialized (
        select p.source, null::integer as encoder_id,
               array[count(*), coalesce(sum(r.events), 0), 0, 0, 0, 0]::bigint[] as figures
          from ehrdb.patient p
          left join record r using (patient_id)
         group by p.source
        union all
        select null, n.encoder_id,
               array[0, 0, (select count(*) from ehrdb.patient_embedding s where s.encoder_id = n.encoder_id),
                     v.contents, v.truncated,
                     (select count(*) from ehrdb.embedding_job j where j.encoder_id = n.encoder_id)]::bigint[]
          from ehrdb.encoder n
         cross join lateral (
            select count(*) as contents, count(*) filter (where e.is_truncated) as truncated
              from ehrdb.embedding e where e.encoder_id = n.encoder_id) v
    ), written as (
        insert into ehrdb.figure (source, encoder_id, patients, events, embedded, contents, truncated, queued, changed_at)
        select c.source, c.encoder_id, c.figures[1], c.figures[2], c.figures[3], c.figures[4], c.figures[5], c.figures[6],
               '-infinity'
          from counted c
    )
    select count(*) into wrong
      from (select k.figures as was, c.figures as is_now
              from kept k
              full join counted c
                on (coalesce(k.source, ''), coalesce(k.encoder_id, 0)) = (coalesce(c.source, ''), coalesce(c.encoder_id, 0))) pair
     where coalesce(was, '{0,0,0,0,0,0}') <> coalesce(is_now, '{0,0,0,0,0,0}');
    return wrong;
end
$$;

comment on function ehrdb.recount_figures() is
'Counts anew, from the data, all that ehrdb.figure keeps; returns of how many sources and encoders a figure was wrong.';
