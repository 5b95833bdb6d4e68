create or replace view ehr.evaluation with (security_invoker = true) as
select v.task, v.evaluated_at, v.model, v.is_evaluated, v.k, v.replicates, v.test_labels, v.auroc, v.auroc_lower,
       v.auroc_upper, v.auprc, v.auprc_lower, v.auprc_upper, v.brier, v.brier_lower, v.brier_upper, v.difference,
       v.difference_lower, v.difference_upper, v.p_holm, v.verdict
  from ehrdb.evaluation v;

comment on view ehr.evaluation is
'What `ehrdb evaluate TASK --keep` found: one row per task, model and number of examples, of every evaluation.
Intervals are those of the report: 95 %, by drawing test patients anew; null where they do not exist.
Example: select model, auroc, difference, verdict from ehr.evaluation where task = ''guo_los'' and k = -1 order by evaluated_at desc;';

comment on column ehr.evaluation.task is 'What was to be predicted (ehr.task), or one of its targets.';
comment on column ehr.evaluation.evaluated_at is 'When; rows of one evaluation share it.';
comment on column ehr.evaluation.model is 'An encoder''s name, or a baseline''s.';
comment on column ehr.evaluation.is_evaluated is 'Whether it is the one that the others were compared with.';
comment on column ehr.evaluation.k is 'Examples of each class that its heads learned from; -1: every row.';
comment on column ehr.evaluation.replicates is 'How many samples of so many examples; figures are means over them.';
comment on column ehr.evaluation.test_labels is 'How many labels of test patients it was tried on.';
comment on column ehr.evaluation.auroc is 'Area under the ROC curve.';
comment on column ehr.evaluation.auroc_lower is 'Lower end of its interval.';
comment on column ehr.evaluation.auroc_upper is 'Upper end of its interval.';
comment on column ehr.evaluation.auprc is 'Area under the precision-recall curve.';
comment on column ehr.evaluation.auprc_lower is 'Lower end of its interval.';
comment on column ehr.evaluation.auprc_upper is 'Upper end of its interval.';
comment on column ehr.evaluation.brier is 'Mean squared error of the probabilities.';
comment on column ehr.evaluation.brier_lower is 'Lower end of its interval.';
comment on column ehr.evaluation.brier_upper is 'Upper end of its interval.';
comment on column ehr.evaluation.difference is 'AUROC of the evaluated model minus this one''s; null for itself.';
comment on column ehr.evaluation.difference_lower is 'Lower end of the difference''s interval.';
comment on column ehr.evaluation.difference_upper is 'Upper end of the difference''s interval.';
comment on column ehr.evaluation.p_holm is 'Two-sided p of the difference, adjusted for all tests of the evaluation (Holm).';
comment on column ehr.evaluation.verdict is 'What the test says of the evaluated model: win, tie or loss.';
