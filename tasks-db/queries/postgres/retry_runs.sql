-- Arms what is parked or failing; where the input changed, every run. $1 tasks (JSON), $2 whether the input changed
UPDATE runs
SET state = 'waiting',
    attempts = 0,
    visible_at = 0,
    claims_without_verdict = 0
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
  AND ($2 OR state IN ('waiting', 'parked'))
