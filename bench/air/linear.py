"""Measures how the report's time grows with the pairs that it counts: each user's segments times sites.

usage: linear.py PROGRAM STORE WORK    (STORE is the full set; a quarter and a half of it are generated beside it)
"""

import pathlib
import statistics
import subprocess
import sys

import duckdb

from compare import report

HERE = pathlib.Path(__file__).parent
FULL = {"users": 1_000_000, "memberships": 19_000_000, "visits": 5_000_000}
RUNS = 3


def main():
    program, full, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    costs = []
    for divisor in [4, 2, 1]:
        store = full if divisor == 1 else full.with_name(f"{full.name}-{divisor}")
        if not store.exists():
            sizes = [f"--{name}={size // divisor}" for name, size in FULL.items()]
            subprocess.run([sys.executable, HERE / "generate.py", store, *sizes], check=True)
        # In a process of its own: a child's peak of memory begins with its parent's.
        counted = subprocess.run([sys.executable, __file__, "pairs", store], stdout=subprocess.PIPE, check=True)
        pairs = int(counted.stdout)
        days = sorted(store.glob("user_segments/*/*/*"))
        midnight = "-".join(part.split("=")[1] for part in days[-1].parts[-3:]) + "T00:00:00Z"
        runs = [report(program, store, work / f"{divisor}-{run}", midnight, work / "cells.csv") for run in range(RUNS)]
        cpu_seconds = statistics.median(run.cpu_seconds for run in runs)
        costs.append(cpu_seconds / pairs)
        print(f"{pairs / 1e6:.1f} M pairs: {statistics.median(run.seconds for run in runs):.2f} s, {cpu_seconds:.2f} s of CPU, "
              f"{1e9 * costs[-1]:.0f} ns of CPU a pair, {max(run.peak_mb for run in runs):.0f} MB")
    print(f"cost of a pair, largest set to smallest: {costs[-1] / costs[0]:.2f}")


def count_pairs(store):
    db = duckdb.connect()
    last = sorted(store.glob("user_segments/*/*/*"))[-1]
    def users(feature):
        days = [str(path) for path in store.glob(f"{feature}/*/*/*/*/*.parquet") if path.parts[-5:-2] != last.parts[-3:]]
        return f"(select id, count(distinct item) as items from read_parquet({days}) group by id)"
    query = f"select sum(s.items * p.items) from {users('user_segments')} s join {users('user_sites')} p using (id)"
    return int(db.execute(query).fetchone()[0])


if __name__ == "__main__":
    if sys.argv[1] == "pairs":
        print(count_pairs(pathlib.Path(sys.argv[2])))
    else:
        main()
