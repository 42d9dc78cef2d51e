-- ?1 counter
UPDATE numbers SET value = value + 1 WHERE name = ?1 RETURNING value
