-- Remembers a version of a feature, once. ?1 feature, ?2 version, ?3 source, ?4 engine, ?5 keys, ?6 columns, ?7 definition,
-- ?8 now
INSERT INTO features (feature, version, source, engine, keys, columns, definition, first_seen_at, checked)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, n.value -- later completions are the new version's
FROM numbers n
WHERE n.name = 'completions'
ON CONFLICT (feature, version) DO UPDATE
SET definition = excluded.definition
WHERE definition = '' -- it could not be told before
