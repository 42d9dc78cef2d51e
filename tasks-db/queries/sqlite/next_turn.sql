-- The number of the next claim: the turn of its path.
UPDATE numbers SET value = value + 1 WHERE name = 'claims' RETURNING value
