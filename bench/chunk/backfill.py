"""Writes days of small chunks of made-up classifieds events, one gz file for each ten minutes.

Usage: backfill.py TARGET [--days 60] [--rows 200]

Deterministic: seeded, no clock. Users are drawn from the same crowd every day.
"""

import argparse
import gzip
import json
import os
import random
import time

from generate import COUNTRIES, EVENTS, WEIGHTS

USERS = 50_000
START = 1533081600  # 2018-08-01T00:00:00Z


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200)
    options = parser.parse_args()
    rng = random.Random(20180801)
    users = [f"{rng.getrandbits(40):010x}" for _ in range(USERS)]
    for chunk in range(options.days * 144):
        begin = START + chunk * 600
        path = os.path.join(options.target, "olx/android", time.strftime("%Y/%m/%d/%Y%m-%d-%H%M%S.gz", time.gmtime(begin)))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lines = []
        for row in range(options.rows):
            user = int(USERS * rng.random() ** 2)
            lines.append(json.dumps({
                "event_name": rng.choices(EVENTS, WEIGHTS)[0], "user_id": users[user], "device_id": f"d{users[user]}",
                "country": COUNTRIES[user % 10], "timestamp": begin + row * 600 // options.rows,
            }))
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write("\n".join(lines).encode())


if __name__ == "__main__":
    main()
