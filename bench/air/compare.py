"""Compares the report's counts with DuckDB's, and times both.

usage: compare.py PROGRAM STORE WORK    (PROGRAM is the built benchmark `report`, WORK an empty folder for its files)
"""

import os
import pathlib
import subprocess
import sys
import time

import duckdb

HERE = pathlib.Path(__file__).parent
COLUMNS = "site, segment_group, segment, segment_users, group_users, segment_site_users, group_site_users"


def main():
    program, store, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    days = sorted(store.glob("user_segments/*/*/*"))
    last = "-".join(part.split("=")[1] for part in days[-1].parts[-3:])
    midnight, after = f"{last}T00:00:00Z", f"{last}T01:00:00Z"
    work.mkdir(parents=True, exist_ok=True)
    full = report(program, store, work / "full", midnight, work / "full.csv")
    step = report(program, store, work / "full", after, work / "step.csv")
    scratch = report(program, store, work / "scratch", after, work / "scratch.csv")
    ours = {"full": full, "step": step, "from scratch": scratch}
    for name, (seconds, inside, peak) in ours.items():
        print(f"report, {name}: {inside} ({seconds:.2f} s with the process, {peak / 1024:.0f} MB)")
    print(f"a chunk that touches 1 %: {100 * seconds_in(step[1]) / seconds_in(scratch[1]):.1f} % of the full cost")
    seconds = duck(store, last, work / "full.csv", with_last=False)
    print(f"duckdb {duckdb.__version__}: {seconds:.2f} s, the same counts: {seconds / seconds_in(full[1]):.1f} times as long")
    duck(store, last, work / "step.csv", with_last=True)
    duck(store, last, work / "scratch.csv", with_last=True)
    print("after the chunk, step by step and from scratch: the same counts")


def report(program, store, udb, as_of, out):
    begun = time.monotonic()
    with open(out, "wb") as file:
        child = subprocess.Popen([program, "before", store, udb, as_of], stdout=file, stderr=subprocess.PIPE, text=True)
        inside = child.stderr.read().strip()
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"the report failed: {inside}")
    return time.monotonic() - begun, inside, usage.ru_maxrss


def seconds_in(inside):
    return float(inside.split(": ")[1].split(" s")[0])


def duck(store, last, ours, with_last):
    """Runs the joins and exits if any count differs; returns the seconds of the joins."""
    year, month, day = last.split("-")
    def files(feature):
        found = sorted(str(path) for path in store.glob(f"{feature}/*/*/*/*/*.parquet"))
        at = f"/year={year}/month={month}/day={day}/"
        return found if with_last else [path for path in found if at not in path]
    db = duckdb.connect()
    db.execute("set threads = 2")
    parameters = {"segments": files("user_segments"), "sites": files("user_sites"), "groups": str(store / "groups.csv")}
    begun = time.monotonic()
    db.execute(f"create table theirs as {(HERE / 'counts.sql').read_text()}", parameters)
    seconds = time.monotonic() - begun
    db.execute(f"create table ours as select * from read_csv('{ours}', header = true, types = {{'site': 'varchar', 'segment': 'varchar'}})")
    for left, right in [("ours", "theirs"), ("theirs", "ours")]:
        different = db.execute(f"select {COLUMNS} from {left} except all select {COLUMNS} from {right} limit 3").fetchall()
        if different:
            sys.exit(f"{ours}: only in {left}: {different}")
    return seconds


if __name__ == "__main__":
    main()
