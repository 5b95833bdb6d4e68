create or replace function ehrdb.aces_statement(rule jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    tick constant text := ' - interval ''1 microsecond''';
    times jsonb := '{"_ANY_EVENT": "r.any_event", "_RECORD_START": "r.record_start", "_RECORD_END": "r.record_end"}';
    static jsonb := '{}';  -- whether a predicate holds among the facts without a time
    code_columns text := '';
    time_columns text := '';
    derived text := '';
    nodes text := '';
    conditions text[];
    predicate jsonb;
    node jsonb;
    name text;
    holds text;
    number integer := 0;
begin
    for predicate in select p from jsonb_array_elements(rule -> 'predicates') as p loop
        number := number + 1;
        name := predicate ->> 'name';
        if predicate ? 'all' or predicate ? 'any' then
            derived := derived || format(E'\n cross join lateral (select array(%s order by 1) as p%s offset 0) d%2$s', (
                select string_agg(format('select unnest(%s)', times ->> i.name),
                                  case when predicate ? 'all' then ' intersect ' else ' union ' end order by i.place)
                  from jsonb_array_elements_text(coalesce(predicate -> 'all', predicate -> 'any')) with ordinality
                       as i (name, place)), number);
            static := static || jsonb_build_object(name, (
                select '(' || string_agg(static ->> i.name, case when predicate ? 'all' then ' and ' else ' or ' end) || ')'
                  from jsonb_array_elements_text(coalesce(predicate -> 'all', predicate -> 'any')) as i (name)));
            times := times || jsonb_build_object(name, format('d%s.p%1$s', number));
        else
            holds := ehrdb.aces_condition(predicate || jsonb_build_object('column', 'c.p' || number));
            code_columns := code_columns || format(', %s as p%s', case
                when predicate ? 'pattern' then format('c.code ~ %L', predicate ->> 'pattern')
                else format('c.code = any (%L::text[])', array(select jsonb_array_elements_text(predicate -> 'codes')))
                end, number);
            time_columns := time_columns || format(
                E',\n           coalesce(array_agg(e.time order by e.time) filter (where isfinite(e.time) and %s), ''{}'') as p%s',
                holds, number);
            static := static || jsonb_build_object(name, format('bool_or(e.time = ''-infinity'' and %s)', holds));
            -- Within an expression, what is static holds at every moment of those whom it lets in.
            times := times || jsonb_build_object(name,
                case when rule -> 'static' ? name then 'r.any_event' else 'r.p' || number end);
        end if;
    end loop;

    for node in select n from jsonb_array_elements(rule -> 'nodes') as n loop
        nodes := nodes || format(E'\n cross join lateral (select %s as t offset 0) %s', case
            when node ? 'microseconds'
            then format('%s.t + interval ''%s microseconds''', node ->> 'after', node ->> 'microseconds')
            when (node -> 'is_forward')::boolean
            then format('%1$s[width_bucket(%2$s.t%3$s, %1$s) + 1]', times ->> (node ->> 'event'), node ->> 'after',
                        case when (node -> 'includes_high')::boolean then tick end)
            else format('%1$s[width_bucket(%2$s.t%3$s, %1$s)]', times ->> (node ->> 'event'), node ->> 'after',
                        case when not (node -> 'includes_low')::boolean then tick end)
            end, node ->> 'node');
        conditions := conditions || format('%s.t is not null', node ->> 'node') || array(
            select format('%s between %s and %s', ehrdb.aces_count(node, times ->> (h.bound ->> 0)),
                          coalesce(h.bound ->> 1, '0'), coalesce(h.bound ->> 2, '2147483647'))
              from jsonb_array_elements(node -> 'has') as h (bound));
    end loop;

    select n into node from jsonb_array_elements(rule -> 'nodes') as n where n ->> 'node' = rule #>> '{label,node}';
    return format($statement$
with code as materialized (
    select c.code_id%s
      from ehrdb.concept c
), record as materialized (
    select e.patient_id,
           array_agg(distinct e.time order by e.time) filter (where isfinite(e.time)) as any_event,
           array[min(e.time) filter (where isfinite(e.time))] as record_start,
           array[max(e.time) filter (where isfinite(e.time))] as record_end%s
      from ehrdb.event e
      join code c using (code_id)
      left join ehrdb.unit u using (unit_id)
     group by e.patient_id
    having %s
)
select r.patient_id, %s.t as prediction_time, (%s > 0)::integer as value
  from record r%s
 cross join lateral (select distinct unnest(%s) as t) w0%s
 where %s
 order by r.patient_id, w0.t$statement$,
        code_columns, time_columns,
        concat_ws(' and ', 'bool_or(isfinite(e.time))', (
            select string_agg(static ->> s.name, ' and ') from jsonb_array_elements_text(rule -> 'static') as s (name))),
        rule ->> 'index', ehrdb.aces_count(node, times ->> (rule #>> '{label,predicate}')), derived,
        times ->> (rule ->> 'trigger'), nodes, array_to_string(conditions, E'\n   and '));
end
$$;

comment on function ehrdb.aces_statement(jsonb) is
'A task of ACES as one statement that gives its labels. Of each patient it gathers the sorted times of every predicate;
a count in a window is the difference of two places in such an array, the next event the element after such a place.';
