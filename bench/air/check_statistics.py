"""Checks z, interval and p of 1,000 random cells against scipy, and simulates how often the interval holds the truth.

usage: check_statistics.py PROGRAM    (the built benchmark `report`)
"""

import math
import subprocess
import sys
import warnings

import numpy as np
from scipy import stats


def main():
    # scipy computes a kurtosis that nobody asked for, and divides by zero.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="scipy")
    program = sys.argv[1]
    random = np.random.default_rng(20180801)
    against_scipy(program, random)
    coverage(program, random)


def measured(program, cells):
    text = "\n".join(",".join(map(str, cell)) for cell in cells)
    out = subprocess.run([program, "cells"], input=text, capture_output=True, text=True, check=True).stdout
    return [[float(value) if value else None for value in line.split(",")] for line in out.splitlines()]


def against_scipy(program, random):
    cells = []
    while len(cells) < 1_000:
        group = int(10 ** random.uniform(0.5, 7))
        segment, site = (int(random.integers(1, group + 1)) for _ in range(2))
        low, high = max(0, segment + site - group), min(segment, site)
        cells.append((int(random.integers(low, high + 1)), site, segment, group))
    for (a, site, b, group), (index, z, low, high, p) in zip(cells, measured(program, cells)):
        where = f"a={a} A={site} b={b} B={group}"
        close(index, 100 * (a / site) / (b / group), where)
        draw = stats.hypergeom(group, b, site)
        if draw.var() == 0 or group == 1:
            assert z is None and low is None and high is None, where
            continue
        close(z, (a - draw.mean()) / draw.std(), where)
        close(p, 2 * stats.norm.sf(abs(z)), where)
        if a == 0:
            assert low == 0 and high is None, where
        elif a == site:
            assert low is None and high is None, where
        else:
            half = 1.959964 * math.sqrt((1 / a - 1 / site) * (group - site) / (group - 1))
            close(low, index * math.exp(-half), where)
            close(high, index * math.exp(half), where)
    print("1,000 random cells: index, z, p and interval as scipy has them")


def close(ours, theirs, where):
    assert ours is not None and math.isclose(ours, theirs, rel_tol=1e-8, abs_tol=1e-300), f"{where}: {ours}, not {theirs}"


def coverage(program, random):
    """Cells with E >= 100 and V >= 25: site users of the segment are drawn with a true ratio, all draws count."""
    worst, best, all_held, all_draws = 1.0, 0.0, 0, 0
    for _ in range(40):
        group = int(10 ** random.uniform(4, 6))
        site = int(group * random.uniform(0.01, 0.5))
        segment = int(group * random.uniform(0.01, 0.5))
        expected = site * segment / group
        variance = expected * (1 - segment / group) * (group - site) / (group - 1)
        if expected < 100 or variance < 25:
            continue
        draws = stats.hypergeom(group, segment, site).rvs(2_000, random_state=random)
        cells = [(int(a), site, segment, group) for a in draws]
        held = sum(low is not None and high is not None and low <= 100 <= high
                   for _, _, low, high, _ in measured(program, cells))
        worst, best = min(worst, held / len(draws)), max(best, held / len(draws))
        all_held, all_draws = all_held + held, all_draws + len(draws)
    share = all_held / all_draws
    print(f"the interval holds the truth in {100 * share:.2f} % of {all_draws} draws (cells {100 * worst:.1f} to {100 * best:.1f} %)")
    assert 0.93 <= share <= 0.97


if __name__ == "__main__":
    main()
