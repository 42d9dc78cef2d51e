"""Compares the report's counts with DuckDB's, and times both.

usage: compare.py PROGRAM STORE WORK    (PROGRAM is the built benchmark `report`, WORK an empty folder for its files)
"""

import dataclasses
import os
import pathlib
import resource
import subprocess
import sys
import time

import duckdb

HERE = pathlib.Path(__file__).parent
COLUMNS = "site, segment_group, segment, segment_users, group_users, segment_site_users, group_site_users"


@dataclasses.dataclass
class Run:
    """One process: its own words, the seconds inside, all CPU seconds, the peak of memory."""

    said: str
    cpu_seconds: float
    peak_mb: float

    @property
    def seconds(self):
        return float(self.said.split(": ")[1].split(" s")[0])

    def __str__(self):
        return f"{self.said} ({self.cpu_seconds:.2f} s of CPU with printing, {self.peak_mb:.0f} MB)"


def main():
    program, store, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    days = sorted(store.glob("user_segments/*/*/*"))
    last = "-".join(part.split("=")[1] for part in days[-1].parts[-3:])
    midnight, after = f"{last}T00:00:00Z", f"{last}T01:00:00Z"
    work.mkdir(parents=True, exist_ok=True)
    full = report(program, store, work / "full", midnight, work / "full.csv")
    step = report(program, store, work / "full", after, work / "step.csv")
    scratch = report(program, store, work / "scratch", after, work / "scratch.csv")
    for name, run in {"full": full, "step": step, "from scratch": scratch}.items():
        print(f"report, {name}: {run}")
    print(f"a chunk that touches 1 %: {100 * step.seconds / scratch.seconds:.1f} % of the full cost")
    seconds, cpu_seconds = duck(store, last, work / "full.csv", with_last=False)
    print(f"duckdb {duckdb.__version__}: {seconds:.2f} s, {cpu_seconds:.2f} s of CPU, the same counts: "
          f"{seconds / full.seconds:.1f} times as long, {cpu_seconds / full.cpu_seconds:.1f} times the CPU")
    duck(store, last, work / "step.csv", with_last=True)
    duck(store, last, work / "scratch.csv", with_last=True)
    print("after the chunk, step by step and from scratch: the same counts")


def report(program, store, udb, as_of, out):
    with open(out, "wb") as file:
        child = subprocess.Popen([program, "before", store, udb, as_of], stdout=file, stderr=subprocess.PIPE, text=True)
        said = child.stderr.read().strip()
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"the report failed: {said}")
    return Run(said, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def duck(store, last, ours, with_last):
    """Runs the joins and exits if any count differs; returns the seconds of the joins, and their CPU seconds."""
    year, month, day = last.split("-")
    def files(feature):
        found = sorted(str(path) for path in store.glob(f"{feature}/*/*/*/*/*.parquet"))
        at = f"/year={year}/month={month}/day={day}/"
        return found if with_last else [path for path in found if at not in path]
    db = duckdb.connect()
    db.execute("set threads = 2")
    parameters = {"segments": files("user_segments"), "sites": files("user_sites"), "groups": str(store / "groups.csv")}
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    db.execute(f"create table theirs as {(HERE / 'counts.sql').read_text()}", parameters)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    db.execute(f"create table ours as select * from read_csv('{ours}', header = true, types = {{'site': 'varchar', 'segment': 'varchar'}})")
    for left, right in [("ours", "theirs"), ("theirs", "ours")]:
        different = db.execute(f"select {COLUMNS} from {left} except all select {COLUMNS} from {right} limit 3").fetchall()
        if different:
            sys.exit(f"{ours}: only in {left}: {different}")
    return seconds, cpu_seconds


if __name__ == "__main__":
    main()
