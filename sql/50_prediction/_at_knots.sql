create or replace function ehrdb.at_knots(x float8, knots float8[], heights float8[]) returns float8
language sql immutable parallel safe
begin atomic
    select case width_bucket(x, knots)
           when 0 then heights[1]
           when cardinality(knots) then heights[cardinality(knots)]
           else heights[width_bucket(x, knots)]
                + (x - knots[width_bucket(x, knots)])
                  / (knots[width_bucket(x, knots) + 1] - knots[width_bucket(x, knots)])
                  * (heights[width_bucket(x, knots) + 1] - heights[width_bucket(x, knots)]) end;
end;

comment on function ehrdb.at_knots(float8, float8[], float8[]) is
'The height at x of straight lines between points, level beyond them; knots ascend. Null where there are none. Inlined
where x is a column.';
