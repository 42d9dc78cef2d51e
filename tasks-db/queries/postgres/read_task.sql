-- What the last reading came to. $1 task, $2 lines, $3 rows, $4 quarantined files
UPDATE tasks SET read_lines = $2, read_rows = $3, quarantined_files = $4 WHERE task_id = $1
