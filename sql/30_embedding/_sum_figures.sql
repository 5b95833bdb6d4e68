create or replace function ehrdb.sum_figures() returns void
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with taken as (
        -- The last ten minutes' show how fast it goes.
        delete from ehrdb.figure f where f.changed_at < now() - interval '10 minutes' returning f.*
    )
    insert into ehrdb.figure (source, encoder_id, patients, events, embedded, contents, truncated, queued, changed_at)
    select t.source, t.encoder_id, sum(t.patients), sum(t.events), sum(t.embedded), sum(t.contents), sum(t.truncated),
           sum(t.queued), '-infinity'
      from taken t
     group by t.source, t.encoder_id;
end;

comment on function ehrdb.sum_figures() is
'Puts the rows of ehrdb.figure together; their sums stay.';
