-- Which events a head counts, and what a count adds to its log odds: weights by age bin (the nearest first) times
-- ln(1 + count). An event counts for a feature where the code fits and its text (its first 100 characters) is that, or its
-- number lies in the range from low to below high; neither: events without a value, for their code's ancestors as well.
create table ehrdb.head_count (
    head_id integer not null references ehrdb.head on delete cascade,
    code_id integer not null,
    feature integer not null,
    text    text,
    low     float8,
    high    float8,
    weights float8[] not null
);
create index head_count_by_code on ehrdb.head_count (head_id, code_id);

-- Null: the head reads the vector alone. count_bins: the ages in days that end a bin; age_weight: of a year since the
-- first event.
alter table ehrdb.head add column count_bins integer[], add column age_weight float8;
