"""The chunk benchmark: one ten-minute chunk of events, side by side with other engines on the same files and cores.

Usage: run.py NEARTIME_BINARY [--rows 1000000] [--runs 5] [--data DIR] [--wikiticker TAR] [--only PART…]

Parts: `first` and `last` (three features, by where the wanted keys stand in the line), `twelve` (features), `big` (the chunk as one
file), `memory` (ten times the events), `backfill` (60 days of small chunks at once), `small` (418 small files of a real day; needs
--wikiticker, raw-data-reservoir.tar).
Every figure is that of whole processes, taken in turn; medians and ratios are printed. What neartime and its peers wrote is then
compared row by row, and a single difference fails the benchmark.
"""

import argparse
import glob
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import time

from features import RUST, tables

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ["duckdb", "chdb", "polars"]
FOLDER = "olx/android/2018/08/01"
BACKFILL_DAYS = 60
ONLINE = '[online_store]\nurl = "sqlite://online.db"\n'
PARQUET, BOTH = "neartime, Parquet", "neartime, Parquet and SQLite"


class Bench:
    def __init__(self, options):
        self.binary, self.rows, self.runs = os.path.abspath(options.binary), options.rows, options.runs
        self.data, self.wikiticker = options.data, options.wikiticker
        self.site = os.path.abspath(os.path.join(options.data, "site"))
        self.chunk_toml = open(os.path.join(HERE, "neartime.toml")).read()

    def generate(self, order):
        target = os.path.join(self.data, f"{order}-{self.rows}")
        if not os.path.exists(os.path.join(target, "complete")):
            shutil.rmtree(target, ignore_errors=True)
            script = [sys.executable, os.path.join(HERE, "generate.py"), target]
            subprocess.run([*script, "--rows", str(self.rows), "--order", order], check=True)
            open(os.path.join(target, "complete"), "w").close()
        return target

    def neartime(self, raw, online, config=None):
        """One run at a site made from nothing."""
        config = config or self.chunk_toml
        self.make_site(raw, config if online else config.replace(ONLINE, ""))
        return timed([self.binary, "run", "--once"], cwd=self.site)

    def make_site(self, raw, config):
        shutil.rmtree(self.site, ignore_errors=True)
        os.makedirs(self.site)
        os.symlink(os.path.abspath(raw), os.path.join(self.site, "raw"))
        with open(os.path.join(self.site, "neartime.toml"), "w") as file:
            file.write(config)

    def measure(self, works):
        """Medians of wall seconds, CPU seconds and peak memory of each work; the works take turns."""
        figures = {work: [] for work in works}
        for _ in range(self.runs):
            for work, run in works.items():
                figures[work].append(run())
        return {work: [statistics.median(column) for column in zip(*runs)] for work, runs in figures.items()}

    def against_peers(self, raw, features, peers, config=None):
        files = sorted(glob.glob(os.path.join(raw, FOLDER, "*.gz")))
        outs = {peer: os.path.join(self.data, f"out-{peer}") for peer in PEERS}
        works = {
            "igzip": lambda: igzip(files),
            PARQUET: lambda: self.neartime(raw, False, config),
            BOTH: lambda: self.neartime(raw, True, config),
        }
        for peer in peers:
            command = [sys.executable, os.path.join(HERE, "peers.py"), peer, os.path.join(raw, FOLDER, "*.gz"), outs[peer]]
            environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
            works[peer] = lambda command=command: timed([*command, str(features)], env=environment)
        medians = self.measure(works)
        best = min(medians[peer][0] for peer in peers)
        for work, figures in medians.items():
            tell(work, figures, f"{best / figures[0]:5.2f}x the best peer's speed")
        print(f"  {PARQUET}: {medians[PARQUET][0] / medians['igzip'][0]:.2f}x the time of igzip")
        # In a process of its own: what it loads would count as the peak memory of the next runs, which begin as its copies.
        compare = [sys.executable, os.path.join(HERE, "compare.py"), str(features), self.site]
        subprocess.run([*compare, *(f"{peer}={outs[peer]}" for peer in peers)], check=True)
        return medians

    def first(self):
        medians = self.against_peers(self.generate("first"), 3, PEERS)
        added = medians[BOTH][0] - medians[PARQUET][0]
        rows = self.rows_published()
        print(f"  online: {rows} rows in {added:.3f} s more, {rows / max(added, 0.001):,.0f} rows/s")

    def last(self):
        self.against_peers(self.generate("last"), 3, PEERS)

    def twelve(self):
        raw = self.generate("first")
        three = self.measure({PARQUET: lambda: self.neartime(raw, False)})[PARQUET][0]
        medians = self.against_peers(raw, 12, ["duckdb", "polars"], self.chunk_toml + tables())
        print(f"  12 features: {medians[PARQUET][0] / three:.2f}x the time of 3")

    def big(self):
        """Inflating and parsing one file cannot be shared out over cores, but they can overlap."""
        raws = {}
        parts = sorted(glob.glob(os.path.join(self.generate("first"), FOLDER, "*.gz")))
        for kind, command in {"gz": ["cat"], "plain": ["igzip", "-d", "-c"]}.items():
            raws[kind] = os.path.join(self.data, f"big-{kind}-{self.rows}")
            target = os.path.join(raws[kind], FOLDER, "201808-01-101000.gz")
            if not os.path.exists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target + ".part", "wb") as file:
                    for part in parts:
                        subprocess.run([*command, part], stdout=file, check=True)
                os.rename(target + ".part", target)
        medians = self.measure({
            "igzip, one core": lambda: igzip([os.path.join(raws["gz"], FOLDER, "201808-01-101000.gz")]),
            "neartime, inflated file": lambda: self.neartime(raws["plain"], False),
            "neartime, gz file": lambda: self.neartime(raws["gz"], False),
        })
        for work, figures in medians.items():
            tell(work, figures)
        slowest = max(medians["igzip, one core"][0], medians["neartime, inflated file"][0])
        print(f"  {medians['neartime, gz file'][0] / slowest:.2f}x the slower of the stages alone")

    def memory(self):
        raw = os.path.join(self.data, f"ten-{self.rows}")
        shutil.rmtree(raw, ignore_errors=True)
        os.makedirs(os.path.join(raw, FOLDER))
        for at, file in enumerate(sorted(glob.glob(os.path.join(self.generate("first"), FOLDER, "*.gz"))) * 10):
            os.link(file, os.path.join(raw, FOLDER, f"201808-01-101{at // 6}{at % 6}0.gz"))
        for work, online in [(PARQUET, False), (BOTH, True)]:
            tell(f"{work}, 10x", self.neartime(raw, online))

    def backfill(self):
        """Sixty days at once: what is held must not grow with the days."""
        raw = os.path.join(self.data, f"backfill-{BACKFILL_DAYS}")
        if not os.path.exists(os.path.join(raw, "complete")):
            shutil.rmtree(raw, ignore_errors=True)
            script = [sys.executable, os.path.join(HERE, "backfill.py"), raw, "--days", str(BACKFILL_DAYS)]
            subprocess.run(script, check=True)
            open(os.path.join(raw, "complete"), "w").close()
        self.make_site(raw, self.chunk_toml)
        begun, peaks = time.perf_counter(), []
        process = subprocess.Popen([self.binary, "run", "--once"], cwd=self.site, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            peaks.append(resident_mb(process.pid))
            time.sleep(0.1)
        if process.returncode != 0:
            raise SystemExit(f"the backfill failed: {process.returncode}")
        wall = time.perf_counter() - begun
        chunks = len(glob.glob(os.path.join(self.site, "features_store/device_last_browse/*/*/*/*/*/*.parquet")))
        quarters = [max(peaks[at * len(peaks) // 4:(at + 1) * len(peaks) // 4]) for at in range(4)]
        shown = ", ".join(f"{peak:.0f}" for peak in quarters)
        print(f"  {chunks} chunks in {wall:.1f} s, {chunks / wall:.0f} chunks/s; highest memory by quarter of the time: {shown} MB")

    def small(self):
        if not self.wikiticker:
            print("  left out: --wikiticker tells where raw-data-reservoir.tar is")
            return
        raw = os.path.join(self.data, "wikiticker")
        if not os.path.exists(raw):
            with tarfile.open(self.wikiticker) as archive:
                archive.extractall(raw + ".part", filter="data")
            os.rename(raw + ".part", raw)
        config = open(os.path.join(HERE, "wikiticker.toml")).read()
        raw = os.path.join(raw, "in/edits/wikipedia")
        works = {PARQUET: lambda: self.neartime(raw, False, config), BOTH: lambda: self.neartime(raw, True, config)}
        for work, figures in self.measure(works).items():
            tell(work, figures, f"{140 / figures[0]:.0f} chunks/s")

    def rows_published(self):
        stores = [f"select id from read_parquet('{self.site}/features_store/{name}/**/*.parquet')" for name in RUST]
        query = f"import duckdb; print(duckdb.sql({' union all '.join(stores)!r}).count('*').fetchall()[0][0])"
        return int(subprocess.run([sys.executable, "-c", query], check=True, capture_output=True, text=True).stdout)


def timed(command, **options):
    """Wall seconds, CPU seconds and peak memory (MB) of one process, which does not wait for what others left to be written."""
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command[0]} failed: {error.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def resident_mb(pid):
    """What a process holds in memory now; 0 when it has just gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS:")), 0)
    except OSError:
        return 0


def igzip(files):
    return timed(["sh", "-c", "printf '%s\\n' \"$@\" | xargs -P 2 -n 1 igzip -d -c", "sh", *files])


def tell(work, figures, more=""):
    wall, cpu, peak = figures
    print(f"  {work:34} {wall:7.3f} s wall {cpu:7.3f} s cpu {peak:7.0f} MB   {more}", flush=True)


def main():
    parts = ["first", "last", "twelve", "big", "memory", "backfill", "small"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", default="target/bench")
    parser.add_argument("--wikiticker", default=os.environ.get("WIKITICKER"))
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    bench = Bench(options)
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}; {options.rows} rows; medians of {options.runs} runs")
    for part in options.only:
        print(f"{part}:", flush=True)
        getattr(bench, part)()


if __name__ == "__main__":
    main()
