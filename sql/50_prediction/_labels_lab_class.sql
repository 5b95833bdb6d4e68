create or replace function ehrdb.labels_lab_class(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with result as (
        select e.patient_id, e.ordinal, e.time, lower(e.text_value) in ('normal', 'adequate') as is_normal,
               -- Python's float() takes digits grouped by underscores, which FEMR leaves as text.
               coalesce(e.numeric_value::float8, case
                   when e.text_value ~ '^\s*[+-]?(\d+(_\d+)*\.?|(\d+(_\d+)*)?\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?\s*$'
                   then replace(e.text_value, '_', '')::float8 end) as number,
               -- Codes of MEDS may end in their unit: LAB//50971//mEq/L.
               lower(coalesce(u.unit, substring(c.code from '^.+//(.+)$'))) as unit
          from ehrdb.event latest  -- who has such a code; then all of theirs
          join ehrdb.event e on e.patient_id = latest.patient_id and e.code_id = latest.code_id
          join ehrdb.concept c on c.code_id = e.code_id
          left join ehrdb.unit u on u.unit_id = e.unit_id
         where latest.code_id in (select ehrdb.expanded_codes(array(select jsonb_array_elements_text(rule -> 'codes'))))
           and latest.valid_to = 'infinity'
           and (e.numeric_value is not null or e.text_value is not null)
           and date_trunc('minute', e.time) <> (
               select date_trunc('minute', f.time) from ehrdb.event f
                where f.patient_id = e.patient_id and isfinite(f.time) order by f.ordinal limit 1)
    ), converted as (
        select r.*, case when rule -> 'units' is null then r.number else (
                   select r.number * (u.entry ->> 1)::float8 / (u.entry ->> 2)::float8
                     from jsonb_array_elements(rule -> 'units') with ordinality as u (entry, position)
                    where starts_with(r.unit, u.entry ->> 0)
                    order by u.position limit 1) end as amount
          from result r
    )
    select c.patient_id, date_trunc('minute', c.time) - interval '1 minute',
           case when c.is_normal or c.amount = 'NaN' then 0
                else coalesce((
                    select max(4 - t.position)
                      from jsonb_array_elements_text(rule -> 'thresholds') with ordinality as t (bound, position)
                     where case rule -> 'compare' ->> (t.position::integer - 1)
                               when '<' then c.amount < t.bound::float8
                               when '<=' then c.amount <= t.bound::float8
                               when '>' then c.amount > t.bound::float8 end), 0) end::integer
      from converted c
     where c.is_normal or c.amount is not null
     order by c.patient_id, c.ordinal;
end;

comment on function ehrdb.labels_lab_class(jsonb) is
'One minute before each result: its class, 0 normal to 3 severe (lab_*). Units are matched by prefix, those of MEDS
by the end of the code where the event says none; results in
other units, and texts other than normal or adequate, give no label.';
