-- What leaving parts of a text out changes, as `ehrdb explain` found it: numbers of lines and effects, no text.
-- content_sha256 is that of ehrdb.embedding: of prompt and text. most_lines: after so many, lines were left out as one.
create table ehrdb.risk_reason (
    head_id        integer not null references ehrdb.head on delete cascade,
    patient_id     bigint not null,
    content_sha256 bytea not null,
    as_of          timestamp not null,
    most_lines     integer not null check (most_lines > 0),
    reasons        jsonb not null,
    made_at        timestamptz not null default now(),
    primary key (head_id, patient_id, content_sha256)
);
create index risk_reason_by_patient on ehrdb.risk_reason (patient_id);
