create or replace function ehr.nearest_outcomes(
    patient_id bigint, outcome text, as_of timestamp, horizon interval default '1 year', k integer default 100,
    cohort bigint[] default null, encoder text default null,
    out group_name text, out patients integer, out followed integer, out with_outcome integer, out share float8
) returns setof record
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('nearest_outcomes', array[$1], $6);
    candidates bigint[];
begin
    perform ehrdb.is_moment(as_of), ehrdb.is_span(horizon, 'horizon'), ehrdb.is_count(k, 'k'), ehrdb.is_cohort(cohort);
    if as_of in ('infinity', '-infinity') then
        raise exception using errcode = 'EH010', message = 'as_of must be a past moment',
            hint = 'Outcomes are counted after it: choose a day with horizon enough behind it, and make its snapshot.';
    end if;
    perform ehr.embedding(patient_id, as_of, encoder);
    candidates := array(
        select p.patient_id
          from ehrdb.patient p
         where (cohort is null or p.patient_id in (select c from unnest(cohort) c)) and p.patient_id <> nearest_outcomes.patient_id
           and exists (select from ehrdb.event e where e.patient_id = p.patient_id and e.time <= nearest_outcomes.as_of)
         order by p.patient_id);
    return query
    with near as materialized (
        select n.patient_id from ehr.nearest_patients(nearest_outcomes.patient_id, k, cohort, nearest_outcomes.as_of, encoder) n
    ), followed_up as (
        select f.has_outcome, f.is_known, candidates[f.place] in (select n.patient_id from near n) as is_near
          from ehrdb.followed_up(candidates, array_fill(nearest_outcomes.as_of, array[cardinality(candidates)]),
                                 outcome, horizon) f
    ), grouped as (
        select c.name, c.place, count(*) as members, count(*) filter (where f.is_known or f.has_outcome) as known,
               count(*) filter (where f.has_outcome) as positive
          from (values ('nearest', 1), ('everybody', 2)) c (name, place)
          join followed_up f on c.name = 'everybody' or f.is_near
         group by c.name, c.place
    )
    select g.name, g.members::integer, g.known::integer, case when ehrdb.is_shown(g.positive, g.known) then g.positive::integer end,
           case when ehrdb.is_shown(g.positive, g.known) then g.positive / nullif(g.known, 0)::float8 end
      from grouped g
     order by g.place;
end
$$;

comment on function ehr.nearest_outcomes(bigint, text, timestamp, interval, integer, bigint[], text) is
'What happened within the horizon after as_of to the k patients most similar then, beside everybody.
The outcome is a code (with its descendants) or a task (a positive label made in that time). followed: those with the
outcome, with a record that reaches the horizon''s end, or who died before it; share is of them. Death competes with other
outcomes: who died without it counts as without it. Counts of 1 to 10, with or without, are
not shown (null): a courtesy for screens, as readers hold record-level access and two cohorts show what one withholds.
A description, not a prediction: see ehr.predict. No rows: there is nobody else to look at. EH001, EH004: unknown
patient, or no vector by then; EH005: no such outcome; EH010: as_of is not in the past.
Example: select * from ehr.nearest_outcomes(1, ''SNOMED/38341003'', ''2020-01-01'', ''2 years'', 5);';
