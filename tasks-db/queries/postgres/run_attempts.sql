-- How often a run failed on this input. $1 task, $2 feature, $3 fence
SELECT attempts FROM runs WHERE task_id = $1 AND feature = $2 AND fence = $3
