-- Whether the schema is there. $1 schema
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)
