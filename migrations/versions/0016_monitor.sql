-- What `ehrdb monitor` found last, for a worker's metrics: no patient, and no group of few.
create table ehrdb.head_month (
    head_id              integer not null references ehrdb.head on delete cascade,
    month                date not null,
    labels               bigint not null,
    patients             bigint not null,
    predicted            float8,
    observed             float8,
    population_stability float8,
    unknown_codes        float8,
    verdict              text not null,
    checked_at           timestamptz not null default now(),
    primary key (head_id, month)
);
