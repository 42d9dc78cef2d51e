-- A guilty run was found and parked: the task starts counting again. $1 task
UPDATE tasks SET claims_without_verdict = 0 WHERE task_id = $1
