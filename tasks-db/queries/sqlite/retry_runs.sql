-- Arms what is parked or failing; where the input changed, every run. ?1 tasks (JSON), ?2 whether the input changed
UPDATE runs
SET state = 'waiting',
    attempts = 0,
    visible_at = 0,
    claims_without_verdict = 0
WHERE task_id IN (SELECT value FROM json_each(?1))
  AND (?2 OR state IN ('waiting', 'parked'))
