-- Takes a task that this transaction has locked. $1 task, $2 now, $3 lease end, $4 worker, $5 earlier claims without verdict
UPDATE tasks
SET state = 'running',
    due_at = NULL,
    lease = $3,
    worker = $4,
    fence = greatest(fence + 1, $2), -- grows even where the clock stands still or steps back
    claimed_generation = generation,
    claims_without_verdict = $5 + 1 -- counted before the work begins, so that a claim that dies has counted
WHERE task_id = $1
RETURNING fence
