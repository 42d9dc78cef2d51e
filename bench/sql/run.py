"""The SQL benchmark: ten queries over a month of features store (4,464 chunks a feature), beside DuckDB on the same tree.

Usage: run.py NEARTIME_BINARY [--events 400] [--runs 5] [--data DIR]

neartime itself makes the tree, from a month of made-up events. Then each query runs in a process of its own that has
seen nothing before, in turn in neartime and in DuckDB (hive_partitioning over the same files), on the same cores; what
is timed is the query, from its text to its last row, without the start of the process. The answers are compared value
by value, and a single difference fails the run. It prints medians and ratios.
"""

import argparse
import csv
import gzip
import io
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
USERS = 50_000
EVENTS = ["app_open", "view_listings", "view_item", "search_start", "login_sign_in_complete", "post_success"]
WEIGHTS = [14, 20, 24, 10, 12, 20]
COUNTRIES = ["za", "ke", "gh", "ng", "pl", "cz", "in", "br", "ar", "pt"]
BRANDS = ["olx", "letgo"]
CHUNKS = 31 * 144
START = 1533081600  # 2018-08-01T00:00:00Z
FEATURES = ["device_last_browse", "user_last_login", "user_num_posts"]

# A process that answers one query and prints its seconds, then its rows.
DUCKDB = """
import csv, sys, time
import duckdb
database = duckdb.connect()
database.execute("set threads to %d" % {threads})
database.execute("set enable_progress_bar = false")
sql = sys.stdin.read()
started = time.perf_counter()
database.execute("create schema features_store")
for feature in {features!r}:
    if feature in sql:
        database.execute(f"create view features_store.{{feature}} as select * from read_parquet("
                         f"'features_store/{{feature}}/*/*/*/*/*/*.parquet', hive_partitioning=true, hive_types_autocast=false)")
answer = database.execute(sql)
names = [column[0] for column in answer.description]
rows = answer.fetchall()
print(time.perf_counter() - started, file=sys.stderr)
writer = csv.writer(sys.stdout)
writer.writerow(names)
writer.writerows(rows)
"""


def generate(site, events):
    """One gz file a chunk, `events` lines in each; deterministic: seeded, no clock."""
    rng = random.Random(20180801)
    users = [f"{rng.getrandbits(40):010x}" for _ in range(USERS)]
    for chunk in range(CHUNKS):
        at = START + chunk * 600
        day, second = divmod(at - START, 86400)
        clock = f"{second // 3600:02}{second % 3600 // 60:02}00"
        brand = BRANDS[chunk % 2]
        folder = f"{site}/raw/{brand}/android/2018/08/{day + 1:02}"
        os.makedirs(folder, exist_ok=True)
        lines = []
        for row in range(events):
            user = int(USERS * rng.random() ** 2)
            lines.append(json.dumps({"event_name": rng.choices(EVENTS, WEIGHTS)[0], "user_id": users[user],
                                     "device_id": f"d{users[user]}", "country": COUNTRIES[user % 10],
                                     "timestamp": at + row * 600 // events}))
        with gzip.open(f"{folder}/201808-{day + 1:02}-{clock}.gz", "wb", compresslevel=1) as file:
            file.write("\n".join(lines).encode())


def make_tree(binary, data, events):
    site = os.path.join(data, f"sql-{events}")
    if not os.path.exists(f"{site}/complete"):
        shutil.rmtree(site, ignore_errors=True)
        os.makedirs(site)
        generate(site, events)
        shutil.copy(os.path.join(HERE, "neartime.toml"), site)
        subprocess.run([binary, "run", "--once"], cwd=site, check=True, capture_output=True)
        open(f"{site}/complete", "w").close()
    return site


def queries():
    rng = random.Random(20180801)
    first = f"{rng.getrandbits(40):010x}"
    text = open(os.path.join(HERE, "queries.sql")).read().replace("%ID%", first)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("--")]
    return [line.removesuffix(";") for line in lines]


def answer_of(text):
    """Rows as text; an answer's order is part of it."""
    return list(csv.reader(io.StringIO(text)))


def ask_neartime(binary, site, sql):
    done = subprocess.run([binary, "sql", sql, "--format", "csv"], cwd=site, capture_output=True, text=True, check=True)
    told = re.search(r"([0-9.]+) ?(ms|s)\b", done.stderr)
    seconds = float(told.group(1)) / (1000 if told.group(2) == "ms" else 1)
    return seconds, answer_of(done.stdout)


def ask_duckdb(site, sql, threads):
    script = DUCKDB.format(threads=threads, features=FEATURES)
    done = subprocess.run([sys.executable, "-c", script], cwd=site, input=sql, capture_output=True, text=True, check=True)
    return float(done.stderr.strip()), answer_of(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", default="target/bench")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    site = make_tree(binary, options.data, options.events)
    threads = os.cpu_count()
    slower = 0
    print(f"{'query':>5} {'neartime':>10} {'duckdb':>10} {'duckdb / neartime':>18}")
    for number, sql in enumerate(queries(), 1):
        ours, theirs = [], []
        for _ in range(options.runs):
            seconds, mine = ask_neartime(binary, site, sql)
            ours.append(seconds)
            seconds, other = ask_duckdb(site, sql, threads)
            theirs.append(seconds)
            if mine != other:
                raise SystemExit(f"query {number} differs: neartime {mine[:5]}, duckdb {other[:5]}")
        ratio = statistics.median(theirs) / statistics.median(ours)
        slower += ratio < 1
        print(f"{number:>5} {statistics.median(ours):>8.3f} s {statistics.median(theirs):>8.3f} s {ratio:>17.1f}x", flush=True)
    print(f"{10 - slower} of 10 at least as fast as duckdb")


if __name__ == "__main__":
    main()
