"""The same features by other engines, each reading the files once. Usage: peers.py
duckdb|chdb|polars FILES OUT [3|12]; 12 is more of the kind.

Writes OUT/<feature>.parquet: id, country, brand and the feature's value. Ids are cleaned as `clean_str` does for what
the generator writes: trimmed, and null when empty.
"""

import os
import sys

from features import FEATURES, LAST, quoted


def duckdb(files, out, features):
    import duckdb as engine
    db = engine.connect()
    db.execute("set threads to 2")
    wanted = sorted({event for _, events, _ in features.values() for event in events})
    columns = "{event_name: 'VARCHAR', user_id: 'VARCHAR', device_id: 'VARCHAR', country: 'VARCHAR', timestamp: 'BIGINT'}"
    db.execute(f"""create temp table events as select * from read_json('{files}', format = 'newline_delimited',
        columns = {columns}, compression = 'gzip') where event_name in {tuple(wanted)}""")
    for name, (key, events, value) in features.items():
        measure = "max(timestamp)" if value == LAST else "count(*)"
        db.execute(f"""copy (select nullif(trim({key}), '') id, nullif(trim(country), '') country, 'olx' brand,
            {measure}::bigint {value} from events where event_name in ({quoted(events)}) and nullif(trim({key}), '') is not null
            group by 1, 2, 3 order by 1, 2, 3) to '{out}/{name}.parquet' (format parquet, compression zstd)""")


def chdb(files, out, features):
    from chdb import session
    db = session.Session()
    db.query("set max_threads = 2")
    wanted = sorted({event for _, events, _ in features.values() for event in events})
    columns = "event_name String, user_id String, device_id String, country String, timestamp Int64"
    db.query("create database bench; ")
    db.query(f"""create table bench.events engine = Memory as select * from file('{files}', 'JSONEachRow', '{columns}', 'gzip')
        where event_name in ({quoted(wanted)}) settings input_format_skip_unknown_fields = 1""")
    for name, (key, events, value) in features.items():
        measure = "max(timestamp)" if value == LAST else "toInt64(count())"
        db.query(f"""insert into function file('{out}/{name}.parquet', 'Parquet') select nullIf(trimBoth({key}), '') id,
            nullIf(trimBoth(country), '') country, 'olx' brand, {measure} {value} from bench.events
            where event_name in ({quoted(events)}) and id is not null group by 1, 2, 3 order by 1, 2, 3
            settings output_format_parquet_compression_method = 'zstd', engine_file_truncate_on_insert = 1,
                     output_format_parquet_string_as_string = 1""")


def polars(files, out, features):
    import polars as pl
    schema = {"event_name": pl.String, "user_id": pl.String, "device_id": pl.String, "country": pl.String,
              "timestamp": pl.Int64}
    wanted = sorted({event for _, events, _ in features.values() for event in events})
    events = pl.scan_ndjson(files, schema=schema).filter(pl.col("event_name").is_in(wanted)).collect()
    clean = lambda column: pl.col(column).str.strip_chars().replace("", None)
    for name, (key, names, value) in features.items():
        measure = pl.col("timestamp").max() if value == LAST else pl.len().cast(pl.Int64)
        rows = (events.lazy().filter(pl.col("event_name").is_in(names))
                .select(clean(key).alias("id"), clean("country").alias("country"), pl.lit("olx").alias("brand"), "timestamp")
                .filter(pl.col("id").is_not_null())
                .group_by("id", "country", "brand").agg(measure.alias(value)).sort("id", "country", "brand"))
        rows.collect().write_parquet(f"{out}/{name}.parquet", compression="zstd")


if __name__ == "__main__":
    peer, files, out, *count = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    {"duckdb": duckdb, "chdb": chdb, "polars": polars}[peer](files, out, FEATURES[int(count[0]) if count else 3])
