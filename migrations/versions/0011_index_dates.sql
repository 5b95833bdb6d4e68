-- Moments of patients' own at which their texts are embedded (`ehrdb refresh --at`). A record that arrives late is
-- embedded again as of them.
create table ehrdb.index_date (
    patient_id bigint not null,
    as_of      timestamp not null check (isfinite(as_of)),
    made_at    timestamptz not null default now(),
    primary key (patient_id, as_of)
);
