-- name: may_keep
-- whether this role may write what it found
select has_table_privilege('ehrdb.evaluation', 'insert');

-- name: keep
-- a task's figures of one model, learned from so many examples
insert into ehrdb.evaluation (
       evaluated_at, task, model, k, is_evaluated, replicates, test_labels, auroc, auroc_lower, auroc_upper, auprc,
       auprc_lower, auprc_upper, brier, brier_lower, brier_upper, difference, difference_lower, difference_upper, p_holm,
       verdict)
values (%(evaluated_at)s, %(task)s, %(model)s, %(k)s, %(is_evaluated)s, %(replicates)s, %(test_labels)s, %(auroc)s,
        %(auroc_lower)s, %(auroc_upper)s, %(auprc)s, %(auprc_lower)s, %(auprc_upper)s, %(brier)s, %(brier_lower)s,
        %(brier_upper)s, %(difference)s, %(difference_lower)s, %(difference_upper)s, %(p_holm)s, %(verdict)s);
