-- The number of a completion.
UPDATE numbers SET value = value + 1 WHERE name = 'completions' RETURNING value
