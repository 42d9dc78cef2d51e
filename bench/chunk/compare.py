"""Compares every row of every feature. Usage: compare.py 3|12 SITE PEER=FOLDER…; fails if a single row differs."""

import sys

import duckdb

from features import FEATURES


def count(query):
    return duckdb.sql(f"select count(*) from ({query})").fetchall()[0][0]


def main():
    features, site, *peers = sys.argv[1:]
    for feature in FEATURES[int(features)]:
        ours = f"select * from read_parquet('{site}/features_store/{feature}/**/*.parquet', hive_partitioning = false)"
        columns = ", ".join(column[0] for column in duckdb.sql(f"{ours} limit 0").description)
        rows = count(ours)
        for peer, folder in (peer.split("=", 1) for peer in peers):
            theirs = f"select {columns} from '{folder}/{feature}.parquet'"
            differing = count(f"({ours} except all {theirs}) union all ({theirs} except all {ours})")
            print(f"  {feature}: {rows} rows, {differing} differ from {peer}")
            if differing or not rows:
                raise SystemExit(f"{feature}: neartime and {peer} disagree")


if __name__ == "__main__":
    main()
