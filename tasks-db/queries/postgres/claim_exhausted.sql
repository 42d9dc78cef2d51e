-- Parks a task whose claims ended too often without a verdict. $1 task, $2 error
UPDATE tasks
SET state = 'parked',
    due_at = NULL,
    lease = NULL,
    claims_without_verdict = 0,
    last_error = $2
WHERE task_id = $1
