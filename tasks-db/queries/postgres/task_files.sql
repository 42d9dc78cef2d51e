-- $1 task
SELECT key, version, size, state, generation, registered_at, reason FROM files WHERE task_id = $1 ORDER BY key
