-- Without the parent's indexes and defaults, of which it has none.
CREATE TABLE {stage} (LIKE {table})
