-- Embedding: encoders, what is to be embedded, the vectors, and the queue between them.

create table ehrdb.prompt (
    prompt_id integer generated always as identity primary key,
    prompt    text not null unique
);
insert into ehrdb.prompt (prompt) values ('');

-- `prompt_id` is the neutral prompt: the one under which patients are compared. `kind`: a model that is run here,
-- imported vectors, or the concatenation of two other encoders.
create table ehrdb.encoder (
    encoder_id     integer generated always as identity primary key,
    name           text not null unique,
    kind           text not null default 'model' check (kind in ('model', 'import', 'concatenation')),
    digest         text not null,
    dimension      integer not null check (dimension between 1 and 16000),
    max_tokens     integer check (max_tokens > 0),
    pooling        text,
    precision      text,
    format         text,
    format_version integer,
    prompt_id      integer not null references ehrdb.prompt,
    first_part_id  integer references ehrdb.encoder,
    second_part_id integer references ehrdb.encoder,
    manifest       jsonb not null,
    is_serving     boolean not null default false,
    created_at     timestamptz not null default now(),
    unique (digest, format, format_version),
    constraint parts check ((kind = 'concatenation') = (first_part_id is not null)
                        and (first_part_id is null) = (second_part_id is null)),
    constraint model check (kind <> 'model' or (max_tokens, pooling, precision, format, format_version) is not null)
);
create unique index encoder_serving on ehrdb.encoder (is_serving) where is_serving;

-- One vector per distinct content: sha-256 of prompt and text, whoever it belongs to.
create table ehrdb.embedding (
    encoder_id     integer not null,
    content_sha256 bytea not null,
    token_count    integer not null,
    is_truncated   boolean not null,
    embedded_at    timestamptz not null default now(),
    embedding      public.halfvec not null,
    primary key (encoder_id, content_sha256)
) partition by list (encoder_id);
-- A row with its vector inline is long enough that the server would move the digest out of line: three pages more to
-- read whenever digests are compared.
alter table ehrdb.embedding alter column content_sha256 set storage plain;

-- Which patient at which moment shows which content. `is_current`: the patient's newest moment.
create table ehrdb.embedding_point (
    encoder_id     integer not null references ehrdb.encoder on delete cascade,
    prompt_id      integer not null references ehrdb.prompt,
    patient_id     bigint not null,
    as_of          timestamp not null,
    is_current     boolean not null,
    content_sha256 bytea not null,
    primary key (encoder_id, prompt_id, patient_id, as_of)
);
create index embedding_point_by_content on ehrdb.embedding_point (encoder_id, content_sha256);
create index embedding_point_by_patient on ehrdb.embedding_point (patient_id);
create unique index embedding_point_current on ehrdb.embedding_point (encoder_id, prompt_id, patient_id)
    where is_current;

-- What search reads: each patient's current vector under the neutral prompt, beside its patient_id.
create table ehrdb.patient_embedding (
    encoder_id     integer not null,
    patient_id     bigint not null,
    as_of          timestamp not null,
    content_sha256 bytea not null,
    embedding      public.halfvec not null,
    primary key (encoder_id, patient_id)
) partition by list (encoder_id);
alter table ehrdb.patient_embedding alter column content_sha256 set storage plain;

-- Moments at which patients' texts are embedded, so that a search as of then has vectors to compare. A record that
-- arrives late is embedded again at these moments.
create table ehrdb.snapshot (
    as_of   timestamp primary key check (isfinite(as_of)),
    made_at timestamptz not null default now()
);

-- Contents that wait for a vector. One point stands for the content: the text is made from it, never stored.
create table ehrdb.embedding_job (
    encoder_id     integer not null references ehrdb.encoder on delete cascade,
    content_sha256 bytea not null,
    prompt_id      integer not null references ehrdb.prompt,
    patient_id     bigint not null,
    as_of          timestamp not null,
    characters     integer not null,
    attempts       integer not null default 0,
    reason         text,
    is_dead        boolean not null default false,
    not_before     timestamptz not null default '-infinity',
    worker         text,
    leased_until   timestamptz not null default '-infinity',
    created_at     timestamptz not null default now(),
    primary key (encoder_id, content_sha256)
);
create index embedding_job_next on ehrdb.embedding_job (encoder_id, characters) where not is_dead;
create index embedding_job_by_patient on ehrdb.embedding_job (patient_id);
create index embedding_job_by_age on ehrdb.embedding_job (encoder_id, created_at) where not is_dead;
-- What is not simply waiting for its turn: few, however long the queue.
create index embedding_job_held on ehrdb.embedding_job (encoder_id, worker) where worker is not null;
create index embedding_job_failed on ehrdb.embedding_job (encoder_id) where attempts > 0;

-- Figures that would take long to count, as sums: whoever changes the data adds what that changes, in the same
-- transaction (triggers). Rows are only added; a refresh puts those together that are older than ten minutes. Of a source:
-- patients and events. Of an encoder: patients with a current vector (embedded), vectors (contents), those of truncated
-- texts, contents in the queue.
create table ehrdb.figure (
    source     text,
    encoder_id integer references ehrdb.encoder on delete cascade,
    patients   bigint not null default 0,
    events     bigint not null default 0,
    embedded   bigint not null default 0,
    contents   bigint not null default 0,
    truncated  bigint not null default 0,
    queued     bigint not null default 0,
    changed_at timestamptz not null default now()
);

-- When kept figures were last compared with the data, and how many were wrong.
create table ehrdb.verification (
    what        text primary key check (what in ('figures', 'frequencies')),
    verified_at timestamptz not null,
    wrong       bigint not null
);

-- In how many patients a concept occurs: what makes it rare, for explanations. Not clinical are demographics, visits
-- and their like, which explain no likeness; the few of them are read as a set, instead of looking every concept up.
create table ehrdb.concept_frequency (
    code_id     integer primary key,
    patients    integer not null,
    is_clinical boolean not null default true
);
create index concept_frequency_not_clinical on ehrdb.concept_frequency (code_id) where not is_clinical;

-- What writers of events have changed of that since it was last brought up to date. Rows are only added, and taken away
-- by the refresh that counts: a row per concept would be locked by whoever writes.
create table ehrdb.concept_frequency_change (
    code_id  integer not null,
    patients integer not null
);

-- How far a prompt's first comparison of everybody has come, in the order of patients. Who comes later, or changes, is
-- marked (ehrdb.changed_patient).
create table ehrdb.plan_progress (
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    prompt_id  integer not null references ehrdb.prompt,
    planned_to bigint not null default '-9223372036854775808',
    is_done    boolean not null default false,
    primary key (encoder_id, prompt_id)
);

-- One row per refresh: figures and ids only. `error`: the kind of error that ended it early, never its words.
create table ehrdb.refresh_run (
    run_id      bigint generated always as identity primary key,
    encoder_id  integer references ehrdb.encoder on delete set null,
    worker      text not null,
    started_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    planned     integer not null default 0,
    embedded    integer not null default 0,
    failed      integer not null default 0,
    tokens      bigint not null default 0,
    seconds     float8 not null default 0,
    error       text
);

-- A model's files, in parts of some megabytes, for workers that have none: what the encoder's manifest names.
create table ehrdb.encoder_file (
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    name       text not null check (name !~ '/' and name not in ('', '.', '..')),
    part       integer not null check (part >= 0),
    content    bytea not null,
    primary key (encoder_id, name, part)
);
alter table ehrdb.encoder_file alter column content set storage external; -- weights do not compress
