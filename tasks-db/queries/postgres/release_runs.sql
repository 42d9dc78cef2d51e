-- Nothing died under the run that had begun. $1 task
UPDATE runs SET started = NULL WHERE task_id = $1 AND started IS NOT NULL
