create or replace function ehrdb.plan_refresh(
    most integer default 10000, out patients integer, out queued integer, out is_done boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    changed bigint[];
    looked_at bigint[];
    each_encoder_id integer;
begin
    perform ehrdb.wait_to_plan();
    changed := ehrdb.take_marks(most);
    patients := cardinality(changed);
    queued := 0;
    for each_encoder_id in select encoder_id from ehrdb.encoder where kind = 'model' order by encoder_id loop
        looked_at := array(select unnest(changed) union select unnest(ehrdb.take_missing(each_encoder_id, most)));
        queued := queued + ehrdb.plan_patients(each_encoder_id, looked_at);
        patients := greatest(patients, cardinality(looked_at));
    end loop;
    perform ehrdb.count_concepts();
    perform ehrdb.sum_figures();
    is_done := cardinality(changed) < most and not exists (select from ehrdb.plan_progress g where not g.is_done);
end
$$;

comment on function ehrdb.plan_refresh(integer) is
'Decides what is stale, a step of at most so many patients: compares texts of changed patients, and of those whom an
encoder''s first comparison has not reached, with what was embedded. Returns patients looked at, contents queued, and
whether that was all. Safe to run at any time, by anyone, at once.';
