-- The files of a task, as `tasks show` lists them. ?1 task
SELECT key, version, size, state, generation, registered_at, reason FROM files WHERE task_id = ?1 ORDER BY key
