-- What the live report, or the staged one, was counted from.
CREATE TABLE IF NOT EXISTS {table} (
    feature    TEXT    NOT NULL,
    file       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    generation INTEGER NOT NULL
)
