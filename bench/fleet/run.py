#!/usr/bin/env python3
"""The freshness benchmark: from `ts_to_process` to a row that `neartime get` reads, on real servers.

Usage: infra/dev/services run bench/fleet/run.py NEARTIME_BINARY [--minutes 5] [--lanes 4] [--lease 10s]

Two daemons on Postgres, S3 and SQS (moto), Cassandra. Every minute each lane (a path of its own) gets one file of the minute's
chunk, which is due when the minute ends. From then on each lane is asked with `neartime get`, ten times a second. First in
peace, then with one daemon killed (-9) within the second after every due time and started again. Prints p50, p99 and the worst,
in seconds; a look takes about a tenth of a second, which is in the numbers.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICES = os.path.join(HERE, "../../infra/dev/services")
NAME = f"bench{os.getpid()}"

CONFIG = """
[tasks]
database = "{postgres}/{name}"
[features_store]
location = "s3://{name}/features"
[online_store]
url = "{cassandra}/{name}"
username = "{user}"
[s3]
region = "us-east-1"
endpoint = "{aws}"
path_style = true
[run]
workers = 2
lease = "{lease}"

[[source]]
name = "events"
location = "s3://{name}/raw"
layout = "{{lane}}/%Y/%m/%d/%H%M.gz"
chunk = "1m"
delay = "0s"
format = "json"
discover = ["list", "sqs"]
sqs = {{ queue = "{aws}/123456789012/{name}" }}
columns = {{ user = "string", time = {{ type = "timestamp", unit = "s" }} }}

[[feature]]
name = "counted"
source = "events"
engine = "count"
keys = ["id"]
select = {{ id = "user" }}
"""


def aws(service, method, path, body=b"", headers=None):
    """A request to moto, which looks at the service in the signature and not at the signature."""
    scope = f"Credential=test/20240101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=none"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}", **(headers or {})}
    request = urllib.request.Request(os.environ["NEARTIME_TEST_AWS"] + path, data=body, method=method, headers=headers)
    return urllib.request.urlopen(request).read()


def set_up(folder, lease):
    postgres = os.environ["NEARTIME_TEST_POSTGRES"]
    subprocess.run(["psql", "-q", postgres, "-c", f"create database {NAME}"], check=True)
    replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"
    subprocess.run([SERVICES, "cql", f"create keyspace {NAME} with replication = {replication}"], check=True)
    aws("s3", "PUT", f"/{NAME}")
    headers = {"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"}
    aws("sqs", "POST", "/", json.dumps({"QueueName": NAME}).encode(), headers)
    notify = (
        f"<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:us-east-1:123456789012:{NAME}</Queue>"
        "<Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
    )
    aws("s3", "PUT", f"/{NAME}?notification", notify.encode())
    with open(os.path.join(folder, "neartime.toml"), "w") as config:
        config.write(CONFIG.format(
            name=NAME, lease=lease, postgres=postgres.rsplit("/", 1)[0], cassandra=os.environ["NEARTIME_TEST_CASSANDRA"],
            user=os.environ["NEARTIME_TEST_CASSANDRA_USER"], aws=os.environ["NEARTIME_TEST_AWS"],
        ))


def daemon(binary, folder):
    log = open(os.path.join(folder, "daemon.log"), "ab")
    return subprocess.Popen([binary, "run"], cwd=folder, stdout=log, stderr=log)


def look(binary, folder, user, due, waits):
    """Asks until the row is there; gives up after five minutes."""
    while time.time() < due + 300:
        shown = subprocess.run([binary, "get", "counted", "--id", user, "--json"], cwd=folder, capture_output=True)
        now = time.time()
        if shown.returncode == 0 and json.loads(shown.stdout):
            waits.append(now - due)
            return
        time.sleep(0.1)
    raise SystemExit(f"{user} never came")


def measure(binary, folder, daemons, minutes, lanes, kill):
    waits, lookers = [], []
    for _ in range(minutes):
        begin = int(time.time()) // 60 * 60
        due = begin + 60
        users = [f"u{begin}-{lane}" for lane in range(lanes)]
        for lane, user in enumerate(users):
            line = json.dumps({"user": user, "time": begin}).encode()
            aws("s3", "PUT", f"/{NAME}/raw/{lane}/{time.strftime('%Y/%m/%d/%H%M', time.gmtime(begin))}.gz", gzip.compress(line))
        time.sleep(due - time.time())
        for user in users:
            lookers.append(threading.Thread(target=look, args=(binary, folder, user, due, waits)))
            lookers[-1].start()
        if kill:
            time.sleep(random.random())
            victim = random.randrange(len(daemons))
            daemons[victim].kill()
            daemons[victim].wait()
            daemons[victim] = daemon(binary, folder)
    for looker in lookers:
        looker.join()
    waits.sort()
    at = lambda share: waits[min(len(waits) - 1, int(len(waits) * share))]
    title = "one killed each minute" if kill else "in peace"
    print(f"{title:<24} n={len(waits)}  p50 {at(0.5):.2f}  p99 {at(0.99):.2f}  worst {waits[-1]:.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--lease", default="10s")
    given = parser.parse_args()
    binary = os.path.abspath(given.binary)
    os.environ["AWS_ENDPOINT_URL"] = os.environ["NEARTIME_TEST_AWS"]
    os.environ["NEARTIME_ONLINE_STORE__PASSWORD"] = os.environ["NEARTIME_TEST_CASSANDRA_PASSWORD"]
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder, given.lease)
        daemons = [daemon(binary, folder) for _ in range(2)]
        time.sleep(10)
        for kill in (False, True):
            measure(binary, folder, daemons, given.minutes, given.lanes, kill)
        for running in daemons:
            running.terminate()
        ended = [running.wait() for running in daemons]
        print(f"daemons ended with {ended}")


if __name__ == "__main__":
    main()
