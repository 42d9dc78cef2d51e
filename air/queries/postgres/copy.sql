-- FREEZE: the table is of this transaction, and a reader whose snapshot is older than the swap finds the new rows, not
-- an empty table.
COPY {stage} FROM STDIN WITH (FORMAT binary, FREEZE)
