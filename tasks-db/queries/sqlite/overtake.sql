-- Lifts a task above the generation of rows that stand in its place. ?1 task, ?2 that generation
UPDATE tasks
SET generation = ?2 + 1
WHERE task_id = ?1
  AND generation <= ?2
RETURNING generation
