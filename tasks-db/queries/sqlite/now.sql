-- The database's present instant, in microseconds (SQLite's clock has milliseconds).
SELECT cast(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000 AS now
