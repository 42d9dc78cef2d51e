"""Makes a features store for the report: users in segments, users on sites, both drawn by Zipf.

usage: generate.py FOLDER [--users N] [--memberships N] [--visits N] [--segments N] [--sites N] [--days N]

Writes user_segments and user_sites, one file a day at noon, and a later chunk (00:00 of the day after the last) that
touches one user in a hundred; and groups.csv, in which some segments are in two groups and some in none.
"""

import argparse
import pathlib
import shutil

import duckdb
from pyarrow import parquet

START = "2018-08-01"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    for name, default in [("users", 1_000_000), ("memberships", 19_000_000), ("visits", 5_000_000),
                          ("segments", 1_000), ("sites", 500), ("days", 25)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    db = duckdb.connect()
    db.execute("select setseed(0.5)")
    db.execute("set preserve_insertion_order = false")
    zipf(db, "segment_of", args.segments)
    zipf(db, "site_of", args.sites)
    for name, rows, items in [("user_segments", args.memberships, "segment_of"), ("user_sites", args.visits, "site_of")]:
        for day in range(args.days):
            chunk(db, args, name, items, rows // args.days, args.users, f"timestamp '{START}' + interval {day * 24 + 12} hour")
        last = f"timestamp '{START}' + interval {args.days * 24} hour"
        chunk(db, args, name, items, args.users // 200, args.users, last)
    groups(args)


def zipf(db, name, items):
    """A table of 65,536 draws: item i as often as 1 / i."""
    db.execute(f"""
        create table {name} as
        with weight as (select i, sum(1.0 / i) over (order by i) / sum(1.0 / i) over () as upto
                        from range(1, {items + 1}) t(i))
        select d as draw, (select min(i) from weight where upto >= (d + 0.5) / 65536) as item from range(65536) t(d)""")


def chunk(db, args, name, items, rows, users, begin):
    """One hour's file, sorted and encoded as the features store does it, with its footer's metadata."""
    when = db.sql(f"select {begin}").fetchall()[0][0]
    folder = args.folder / name / when.strftime("year=%Y/month=%m/day=%d/hour=%H")
    folder.mkdir(parents=True)
    rows = db.sql(f"""
        with drawn as (
            select 'user-' || lpad(cast(floor(random() * {users}) as bigint)::text, 9, '0') as id,
                   cast(floor(random() * 65536) as bigint) as draw,
                   epoch_ms({begin}) + cast(floor(random() * 3600000) as bigint) as at_ms
            from range({rows}))
        select id, cast(item as varchar) as item,
               make_timestamp(min(at_ms) * 1000)::timestamp_ms as min_ts,
               make_timestamp(max(at_ms) * 1000)::timestamp_ms as max_ts
        from drawn join {items} using (draw) group by all order by id, item""").to_arrow_table()
    encodings = {"id": "PLAIN", "min_ts": "DELTA_BINARY_PACKED", "max_ts": "DELTA_BINARY_PACKED"}
    with parquet.ParquetWriter(folder / "events.parquet", rows.schema, compression="zstd", compression_level=1,
                               use_dictionary=["item"], column_encoding=encodings, store_schema=False) as file:
        file.write_table(rows, row_group_size=65536)
        file.add_key_value_metadata({"neartime.version": "1", "neartime.generation": "1"})


def groups(args):
    lines = ["id,group,name"]
    for segment in range(1, args.segments + 1):
        if segment % 50 == 0:
            continue
        lines.append(f"{segment},group-{segment % 20},Segment {segment}")
        if segment % 10 == 1:
            lines.append(f"{segment},every-tenth,Segment {segment}")
    (args.folder / "groups.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
