-- Remembers a source as it is declared now; source_read.sql tells before whether it may change. $1 source, $2 width, $3 layout,
-- $4 now
INSERT INTO sources AS s (source, width, layout, declared_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (source) DO UPDATE
SET width = excluded.width,
    layout = excluded.layout,
    declared_at = excluded.declared_at
WHERE s.width <> excluded.width OR s.layout <> excluded.layout
