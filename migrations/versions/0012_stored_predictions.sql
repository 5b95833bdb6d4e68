-- What ehr.predict_cohort returns for many tasks.
create type ehrdb.task_prediction as (
    task text, patient_id bigint, probability float8, as_of timestamp, is_stale boolean
);

-- Probabilities as `ehrdb predict --materialize` left them.
create table ehrdb.patient_prediction (
    head_id      integer not null references ehrdb.head on delete cascade,
    patient_id   bigint not null,
    probability  float8 not null,
    as_of        timestamp not null,
    predicted_at timestamptz not null default now(),
    primary key (head_id, patient_id)
);
create index patient_prediction_by_patient on ehrdb.patient_prediction (patient_id);

-- Heads score vectors; what holds halfvecs casts once for all heads.
drop function if exists ehrdb.head_probability(ehrdb.head, public.halfvec);

-- A row with its vector inline is long enough that the server would move the digest out of line: three pages more to
-- read whenever digests are compared.
alter table ehrdb.embedding alter column content_sha256 set storage plain;
alter table ehrdb.patient_embedding alter column content_sha256 set storage plain;
