-- Every version of a feature that was ever declared, oldest first. $1 feature
SELECT version, source, engine, keys, columns, definition, first_seen_at
FROM features
WHERE feature = $1
ORDER BY version
