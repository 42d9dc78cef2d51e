"""The chunk benchmark: one ten-minute chunk, three features, side by side with other engines on the same files.

Usage: run.py NEARTIME_BINARY [--rows 1000000] [--runs 5] [--data DIR]

For each key order it times, in turn and on the same cores, whole processes: `igzip -d` of the same files to nowhere,
neartime to Parquet (and to Parquet and SQLite), DuckDB, chDB and Polars to Parquet. Then it compares every row of every
feature between neartime and each peer, and fails if a single one differs. It prints medians and ratios.
"""

import argparse
import glob
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ["duckdb", "chdb", "polars"]
RAW = "olx/android/2018/08/01/*.gz"


def generate(data, rows, order):
    target = os.path.join(data, f"{order}-{rows}")
    if not os.path.exists(os.path.join(target, "complete")):
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([sys.executable, os.path.join(HERE, "generate.py"), target, "--rows", str(rows), "--order", order], check=True)
        open(os.path.join(target, "complete"), "w").close()
    return target


def timed(command, **options):
    """Wall seconds, CPU seconds and peak memory (MB) of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command[0]} failed: {error.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def neartime(binary, raw, site, online):
    """A site made from nothing for each run; the offline-only run has features whose rows are published to Parquet alone."""
    shutil.rmtree(site, ignore_errors=True)
    os.makedirs(site)
    os.symlink(os.path.abspath(raw), os.path.join(site, "raw"))
    config = open(os.path.join(HERE, "neartime.toml")).read()
    if not online:
        config = config.replace('[online_store]\nurl = "sqlite://online.db"\n', "")
    with open(os.path.join(site, "neartime.toml"), "w") as file:
        file.write(config)
    return timed([binary, "run", "--once"], cwd=site)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", default="target/bench")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}; {options.rows} rows; medians of {options.runs} runs")
    for order in ["first", "last"]:
        raw = generate(options.data, options.rows, order)
        files = sorted(glob.glob(os.path.join(raw, RAW)))
        site = os.path.abspath(os.path.join(options.data, "site"))
        outs = {peer: os.path.join(options.data, f"out-{peer}") for peer in PEERS}
        environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
        works = {
            "igzip": lambda: timed(["sh", "-c", "printf '%s\\n' \"$@\" | xargs -P 2 -n 1 igzip -d -c", "sh", *files]),
            "neartime, Parquet": lambda: neartime(binary, raw, site, False),
            "neartime, Parquet and SQLite": lambda: neartime(binary, raw, site, True),
        }
        for peer in PEERS:
            command = [sys.executable, os.path.join(HERE, "peers.py"), peer, os.path.join(raw, RAW), outs[peer]]
            works[peer] = lambda command=command: timed(command, env=environment)
        figures = {work: [] for work in works}
        for _ in range(options.runs):
            for work, run in works.items():
                figures[work].append(run())
        print(f"wanted keys {order}:")
        medians = {work: [statistics.median(column) for column in zip(*runs)] for work, runs in figures.items()}
        best = min(medians[peer][0] for peer in PEERS)
        for work, (wall, cpu, peak) in medians.items():
            print(f"  {work:30} {wall:7.3f} s wall {cpu:7.3f} s cpu {peak:7.0f} MB   {best / wall:5.2f}x the best peer's speed")
        # In a process of its own: what it loads would count as the peak memory of the next runs, which begin as its copies.
        compare = [sys.executable, os.path.join(HERE, "compare.py"), site, *(f"{peer}={out}" for peer, out in outs.items())]
        subprocess.run(compare, check=True)


if __name__ == "__main__":
    main()
