-- Nobody else can count until this transaction ends, so that numbers are seen in their order. $1 counter
UPDATE numbers SET value = value + 1 WHERE name = $1 RETURNING value
