-- CREATE TABLE IF NOT EXISTS fails where two do it at once. The number means nothing; it ends with the transaction.
SELECT pg_advisory_xact_lock(5071926381)
