-- What `ehrdb evaluate --keep` found: a row for each task, model and number of examples. Figures of many patients alone.
create table ehrdb.evaluation (
    evaluated_at     timestamptz not null,
    task             text not null,
    model            text not null,
    k                integer not null,
    is_evaluated     boolean not null,
    replicates       integer not null,
    test_labels      integer not null,
    auroc            float8 not null,
    auroc_lower      float8,
    auroc_upper      float8,
    auprc            float8 not null,
    auprc_lower      float8,
    auprc_upper      float8,
    brier            float8 not null,
    brier_lower      float8,
    brier_upper      float8,
    difference       float8,
    difference_lower float8,
    difference_upper float8,
    p_holm           float8,
    verdict          text,
    primary key (task, evaluated_at, model, k)
);
comment on table ehrdb.evaluation is 'What evaluations found, where it was to be kept (ehr.evaluation).';
