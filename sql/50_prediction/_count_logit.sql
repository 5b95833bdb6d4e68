create or replace function ehrdb.count_logit(
    head_id integer, bins integer[], age_weight float8, patient_id bigint, moment timestamp
) returns float8
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Where the bins begin, as moments, the oldest first.
    starts constant timestamp[] := array(
        select count_logit.moment - make_interval(days => days) from unnest(bins) days order by days desc);
    first_event constant timestamp := (
        select min(e.time) from ehrdb.event e where e.patient_id = count_logit.patient_id and isfinite(e.time));
begin
    -- One look into the index for each event; offset 0 keeps it so, however many weights there are.
    return (
        select coalesce(sum(f.weight * ln(1 + f.times)), 0)
               + age_weight * greatest(coalesce(extract(day from count_logit.moment - first_event), 0), 0)::float8 / 365
          from (select w.feature, b.bin, min(w.weights[b.bin + 1]) as weight, count(*)::float8 as times
                  from ehrdb.event e
                 cross join lateral (select cardinality(bins) - width_bucket(e.time, starts) as bin offset 0) b
                 cross join lateral (
                    select c.feature, c.weights
                      from ehrdb.head_count c
                     where c.head_id = count_logit.head_id and c.code_id = e.code_id
                       and case when e.numeric_value is not null then e.numeric_value >= c.low and e.numeric_value < c.high
                                when e.has_long_text then false
                                when e.short_text is not null then c.text = left(e.short_text, 100)
                                else c.low is null and c.text is null end
                    offset 0) w
                 where e.patient_id = count_logit.patient_id and e.time <= count_logit.moment and isfinite(e.time)
                   and b.bin < cardinality(bins)
                 group by w.feature, b.bin) f);
end
$$;

comment on function ehrdb.count_logit(integer, integer[], float8, bigint, timestamp) is
'What a record as of a moment adds to the log odds of a head that counts codes: weight times ln(1 + count) of each count,
by code, value and age bin, and the age since the first event in years of 365 days. Null, at once, for a head that reads the
vector alone.';
