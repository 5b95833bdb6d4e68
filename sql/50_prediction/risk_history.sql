create or replace function ehr.risk_history(
    task text, patient_id bigint, moments timestamp[] default null, encoder text default null
) returns table (
    as_of timestamp, probability float8, events integer, last_event timestamp, known_until timestamp, is_stale boolean,
    head_trained_at timestamptz, reason text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('risk_history', array[$2]);
    head constant ehrdb.head := ehrdb.head_of(task, ehrdb.encoder_id(encoder));
    asked constant timestamp[] := array(
        select distinct m from unnest(coalesce($3, ehrdb.visit_moments($2))) m order by m);
    ids constant bigint[] := array_fill($2, array[cardinality(asked)]);
begin
    perform ehrdb.require_patient($2), ehrdb.are_pairs(ids, asked);
    return query
    select p.as_of, p.probability, r.events::integer, r.last_event, p.known_until, p.is_stale, head.trained_at, p.reason
      from ehr.predict_at($1, ids, asked, $4) p
     cross join lateral (
        select count(*) as events, max(e.time) filter (where isfinite(e.time)) as last_event
          from ehrdb.event e where e.patient_id = $2 and e.time <= p.as_of) r
     order by p.as_of;
end
$$;

comment on function ehr.risk_history(text, bigint, timestamp[], text) is
'How a risk developed: the probability of the task''s outcome after every visit, from what was known then.
Or at each of the moments given. Beside it how many events were known and when the last was, and when the head was trained:
Where the record as of a moment is not embedded there is no probability, and
reason says so: `ehrdb refresh --at "select 1, as_of from ehr.risk_history(''guo_los'', 1)"` embeds all of them. No rows: no visit.
EH001: unknown patient; EH005, EH006: unknown task, no head.
Example: select as_of, probability, events from ehr.risk_history(''guo_los'', 1);';
