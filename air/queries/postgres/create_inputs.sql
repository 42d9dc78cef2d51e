-- What the live report was counted from.
CREATE TABLE IF NOT EXISTS air_report_inputs (
    feature    text   NOT NULL,
    file       text   NOT NULL,
    version    bigint NOT NULL,
    generation bigint NOT NULL
) PARTITION BY LIST (feature)
