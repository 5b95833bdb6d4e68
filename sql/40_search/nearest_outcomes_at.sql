create or replace function ehr.nearest_outcomes_at(
    patient_ids bigint[], as_ofs timestamp[], outcome text, horizon interval default '1 year', k integer default 100,
    candidate_ids bigint[] default null, candidate_as_ofs timestamp[] default null, encoder text default null
) returns table (
    "position" integer, patient_id bigint, as_of timestamp, group_name text, patients integer, followed integer,
    with_outcome integer, share float8, reason text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('nearest_outcomes_at', $1, $6);
    ids bigint[] := coalesce($6, $1);
    moments timestamp[] := coalesce($7, $2);
begin
    perform ehrdb.are_pairs($1, $2), ehrdb.are_pairs(ids, moments), ehrdb.is_span($4, 'horizon'), ehrdb.is_count($5, 'k');
    select coalesce(array_agg(d.patient_id), '{}'), coalesce(array_agg(d.moment), '{}') into ids, moments
      from (select distinct u.patient_id, u.moment from unnest(ids, moments) u (patient_id, moment)) d;
    if not (isfinite(all_of.earliest) and isfinite(all_of.latest)) from (
           select min(m) as earliest, max(m) as latest from unnest($2 || moments) m) all_of then
        raise exception using errcode = 'EH010', message = 'every moment must be a past one',
            hint = 'Outcomes are counted after it: choose days with horizon enough behind them.';
    end if;
    return query
    with candidate as materialized (
        select ids[f.place] as patient_id, moments[f.place] as moment, f.has_outcome, f.is_known
          from ehrdb.followed_up(ids, moments, $3, $4) f
         where exists (select from ehrdb.event e where e.patient_id = ids[f.place] and e.time <= moments[f.place])
    ), near as materialized (
        select * from ehr.nearest_at($1, $2, $5, ids, moments, $8)
    ), asked as (
        select n."position", n.patient_id, n.as_of, min(n.reason) as reason from near n group by 1, 2, 3
    ), member as (
        select n."position", 'nearest' as name, 1 as place, c.has_outcome, c.is_known
          from near n
          join candidate c on (c.patient_id, c.moment) = (n.neighbour_id, n.neighbour_as_of)
        union all
        select a."position", 'everybody', 2, c.has_outcome, c.is_known
          from asked a
          join candidate c on c.patient_id <> a.patient_id
         where a.reason is null
    ), grouped as (
        select m."position", m.name, m.place, count(*) as members, count(*) filter (where m.is_known or m.has_outcome) as known,
               count(*) filter (where m.has_outcome) as positive
          from member m
         group by m."position", m.name, m.place
    )
    select a."position", a.patient_id, a.as_of, g.name, g.members::integer, g.known::integer,
           case when ehrdb.is_shown(g.positive, g.known) then g.positive::integer end,
           case when ehrdb.is_shown(g.positive, g.known) then g.positive / nullif(g.known, 0)::float8 end, a.reason
      from asked a
      left join grouped g on g."position" = a."position"
     order by a."position", g.place;
end
$$;

comment on function ehr.nearest_outcomes_at(bigint[], timestamp[], text, interval, integer, bigint[], timestamp[], text) is
'What happened to the records most similar to each patient''s as of a moment of their own.
As ehr.nearest_outcomes, beside all candidates (parallel lists; without them the pairs themselves): each is followed from its own
moment. Counts of 1 to 10 are withheld (null). A pair without a vector of its text has one row, and reason says why, as in
ehr.nearest_at. EH005: no such outcome; EH007: lists that do not fit together; EH010: a moment that is not past.
Example: select o.* from ehr.cohort_moments(7) c, ehr.nearest_outcomes_at(c.patient_ids, c.as_ofs, ''SNOMED/38341003'', ''2 years'') o;';
