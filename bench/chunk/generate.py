"""Writes one ten-minute chunk of made-up classifieds events: JSON lines in four gz files.

Usage: generate.py TARGET [--rows 1000000] [--order first|last] [--files 4]

The rows are the same for every order. `first`: the keys that the features want stand first in the line; `last`: they
stand last, behind 18 other keys with nested objects and escapes among them. Deterministic: seeded, no clock.
"""

import argparse
import gzip
import json
import os
import random

USERS = 200_000
EVENTS = ["app_open", "view_listings", "view_item", "search_start", "chat_inbox", "on_resume",
          "login_sign_in_complete", "post_success", "ad_click", "map_move"]
WEIGHTS = [12, 22, 26, 9, 4, 8, 3, 2, 9, 5]
COUNTRIES = ["za", "ke", "gh", "ng", "pl", "cz", "in", "br", "ar", "pt"]
START = 1533118200  # 2018-08-01T10:10:00Z


def others(rng, row):
    """The 18 keys that no feature wants, about 350 bytes."""
    return {
        "session_id": f"{rng.getrandbits(64):016x}", "app": f"9.{row % 40}.1",
        "os": "android", "os_v": f"{5 + row % 5}.0", "model": rng.choice(["SM-G920F", "Moto G (4)", "Redmi 4X"]),
        "lang": "en_ZA", "carrier": "Vodacom \"SA\"", "net": "4g",
        "lat": round(rng.uniform(-34, 52), 6), "lon": round(rng.uniform(-60, 80), 6),
        "screen": {"w": 1080, "h": 1920, "dpi": 420.0}, "exp": {"name": "feed\\v2", "arm": row % 3, "tags": ["a", "b{}"]},
        "cat": row % 900, "item_id": rng.getrandbits(40), "price": row % 7000 / 10, "position": row % 60,
        "ref": "C:\\browse\\x", "seq": row,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--order", choices=["first", "last"], default="first")
    parser.add_argument("--files", type=int, default=4)
    options = parser.parse_args()
    rng = random.Random(20180801)
    folder = os.path.join(options.target, "olx/android/2018/08/01")
    os.makedirs(folder, exist_ok=True)
    names = [f"201808-01-101{minute}00.gz" for minute in range(options.files)]
    files = [gzip.open(os.path.join(folder, name), "wb", compresslevel=6) for name in names]
    users = [f"{rng.getrandbits(40):010x}" for _ in range(USERS)]
    devices = [f"{rng.getrandbits(64):016x}" for _ in range(USERS)]
    events = rng.choices(EVENTS, WEIGHTS, k=4096)
    blocks = [[] for _ in files]
    for row in range(options.rows):
        user = int(USERS * rng.random() ** 2)
        wanted = {"event_name": events[row & 4095], "user_id": users[user], "device_id": devices[user],
                  "country": COUNTRIES[user % 10], "timestamp": START + row * 600 // options.rows}
        other = others(rng, row)
        line = {**wanted, **other} if options.order == "first" else {**other, **wanted}
        blocks[row % options.files].append(json.dumps(line, separators=(",", ":")))
        if len(blocks[row % options.files]) == 5_000:
            flush(files, blocks)
    flush(files, blocks)
    for file in files:
        file.close()


def flush(files, blocks):
    for file, block in zip(files, blocks):
        if block:
            file.write(("\n".join(block) + "\n").encode())
            block.clear()


if __name__ == "__main__":
    main()
