"""Compares the report's counts with DuckDB's, and times both.

usage: compare.py PROGRAM STORE WORK    (PROGRAM is the built benchmark `report`, WORK an empty folder for its files)
"""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import duckdb

HERE = pathlib.Path(__file__).parent
ROUNDS = 5
COLUMNS = "site, segment_group, segment, segment_users, group_users, segment_site_users, group_site_users"


@dataclasses.dataclass
class Run:
    """One process: the seconds inside, all CPU seconds, the peak of memory, its own words."""

    seconds: float
    cpu_seconds: float
    peak_mb: float = 0
    said: str = ""

    @staticmethod
    def median(runs):
        column = lambda name: statistics.median(getattr(run, name) for run in runs)
        return Run(column("seconds"), column("cpu_seconds"), column("peak_mb"))

    def __str__(self):
        return f"{self.seconds:.3f} s, {self.cpu_seconds:.2f} s of CPU, {self.peak_mb:.0f} MB {self.said}"


def main():
    program, store, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    days = sorted(store.glob("user_segments/*/*/*"))
    last = "-".join(part.split("=")[1] for part in days[-1].parts[-3:])
    midnight, after = f"{last}T00:00:00Z", f"{last}T01:00:00Z"
    rounds = [measure(program, store, work / str(at), last, midnight, after) for at in range(ROUNDS)]
    names = ["full", "step", "from scratch", "duckdb"]
    for name, runs in zip(names, zip(*rounds)):
        for run in runs:
            print(f"{name}: {run}")
    full, step, scratch, theirs = (Run.median(runs) for runs in zip(*rounds))
    print(f"medians: full {full.seconds:.3f} s, {full.cpu_seconds:.2f} s of CPU with printing, {full.peak_mb:.0f} MB; step {step.seconds:.3f} s; "
          f"from scratch {scratch.seconds:.3f} s; duckdb {duckdb.__version__} {theirs.seconds:.2f} s, {theirs.cpu_seconds:.2f} s of CPU")
    print(f"a chunk that touches 1 %: {100 * step.seconds / scratch.seconds:.1f} % of the full cost")
    print(f"duckdb: {theirs.seconds / full.seconds:.1f} times as long, {theirs.cpu_seconds / full.cpu_seconds:.1f} times the CPU; the same counts")
    duck(store, last, work / "0" / "step.csv", with_last=True)
    duck(store, last, work / "0" / "scratch.csv", with_last=True)
    print("after the chunk, step by step and from scratch: the same counts")


def measure(program, store, work, last, midnight, after):
    """The report, the next one, the next one from scratch, and DuckDB, in turn."""
    work.mkdir(parents=True, exist_ok=True)
    return [
        report(program, store, work / "full", midnight, work / "full.csv"),
        report(program, store, work / "full", after, work / "step.csv"),
        report(program, store, work / "scratch", after, work / "scratch.csv"),
        duck(store, last, work / "full.csv", with_last=False),
    ]


def settle(store):
    """Nobody waits for what others left to be written, or finds less of the input in memory than they."""
    os.sync()
    for path in store.glob("**/*.parquet"):
        path.read_bytes()


def report(program, store, udb, as_of, out):
    settle(store)
    with open(out, "wb") as file:
        child = subprocess.Popen([program, "before", store, udb, as_of], stdout=file, stderr=subprocess.PIPE, text=True)
        said = child.stderr.read().strip()
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"the report failed: {said}")
    seconds = float(said.split(": ")[1].split(" s")[0])
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said)


def duck(store, last, ours, with_last):
    """Runs the joins and exits if any count differs; returns what the joins took.

    In a process of its own: what it holds would count as the peak memory of the next report, which begins as a copy."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
        return own.submit(join_and_compare, store, last, ours, with_last).result()


def join_and_compare(store, last, ours, with_last):
    year, month, day = last.split("-")
    def files(feature):
        found = sorted(str(path) for path in store.glob(f"{feature}/*/*/*/*/*.parquet"))
        at = f"/year={year}/month={month}/day={day}/"
        return found if with_last else [path for path in found if at not in path]
    db = duckdb.connect()
    db.execute("set threads = 2")
    db.execute("set enable_progress_bar = false")
    parameters = {"segments": files("user_segments"), "sites": files("user_sites"), "groups": str(store / "groups.csv")}
    settle(store)
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    db.execute(f"create table theirs as {(HERE / 'counts.sql').read_text()}", parameters)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    db.execute(f"create table ours as select * from read_csv('{ours}', header = true, types = {{'site': 'varchar', 'segment': 'varchar'}})")
    for left, right in [("ours", "theirs"), ("theirs", "ours")]:
        different = db.execute(f"select {COLUMNS} from {left} except all select {COLUMNS} from {right} limit 3").fetchall()
        if different:
            sys.exit(f"{ours}: only in {left}: {different}")
    return Run(seconds, cpu_seconds)


if __name__ == "__main__":
    main()
