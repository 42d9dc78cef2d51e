#!/usr/bin/env python3
"""The freshness benchmark: from the time when a chunk is due to a row that `neartime get` reads, on real servers.

Usage: infra/dev/services run bench/fleet/run.py NEARTIME_BINARY [--minutes 5] [--lanes 4] [--lease 10s]

Two daemons on Postgres, S3 and SQS (moto), Cassandra, and two sources. `scheduled` is due at its chunk's end
(`ts_to_process`): each lane (a path of its own) gets its file within the minute, and the clock runs from the minute's end.
`landing` is due when its file is there: the clock runs from just before the object's put. Each lane is then asked with
`neartime get`, ten times a second. First in peace, then with one daemon killed (-9) within the second after every due time
and started again.

Prints p50, p99 and the worst, in seconds: the whole wait; of it what passed until the claim that published the row (notice,
poll, and the lease of a killed daemon), as the fence tells, which is the database's time of the claim; and the rest, which is
the work and the look itself. What a look takes is measured by itself in the end.
"""

import argparse
import csv
import dataclasses
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
"""

SOURCE = """
[[source]]
name = "{kind}"
location = "s3://{name}/{kind}"
layout = "{{lane}}/%Y/%m/%d/%H%M.gz"
chunk = "1m"
delay = "0s"
due = "{due}"
format = "json"
discover = ["list", "sqs"]
sqs = {{ queue = "{aws}/123456789012/{name}-{kind}" }}
columns = {{ user = "string", time = {{ type = "timestamp", unit = "s" }} }}

[[feature]]
name = "{kind}_count"
source = "{kind}"
engine = "count"
keys = ["id"]
select = {{ id = "user" }}
"""

# What each source calls due.
KINDS = {"scheduled": "end", "landing": "landing"}


def aws(service, method, path, body=b"", headers=None):
    """A request to moto, which looks at the service in the signature and not at the signature."""
    scope = f"Credential=test/20240101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=none"
    # Without a type of its own a body counts as a form, and moto would find nothing in it.
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}", "Content-Type": "application/octet-stream", **(headers or {})}
    request = urllib.request.Request(os.environ["NEARTIME_TEST_AWS"] + path, data=body, method=method, headers=headers)
    return urllib.request.urlopen(request).read()


def set_up(folder, lease):
    postgres = os.environ["NEARTIME_TEST_POSTGRES"]
    subprocess.run(["psql", "-q", postgres, "-c", f"create database {NAME}"], check=True)
    replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"
    subprocess.run([SERVICES, "cql", f"create keyspace {NAME} with replication = {replication}"], check=True)
    aws("s3", "PUT", f"/{NAME}")
    queues = ""
    for kind in KINDS:
        headers = {"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"}
        aws("sqs", "POST", "/", json.dumps({"QueueName": f"{NAME}-{kind}"}).encode(), headers)
        queues += (
            f"<QueueConfiguration><Queue>arn:aws:sqs:us-east-1:123456789012:{NAME}-{kind}</Queue>"
            f"<Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>{kind}/</Value>"
            "</FilterRule></S3Key></Filter></QueueConfiguration>"
        )
    configuration = f"<NotificationConfiguration>{queues}</NotificationConfiguration>"
    aws("s3", "PUT", f"/{NAME}?notification", configuration.encode())
    values = dict(
        name=NAME, lease=lease, postgres=database(""), cassandra=os.environ["NEARTIME_TEST_CASSANDRA"],
        user=os.environ["NEARTIME_TEST_CASSANDRA_USER"], aws=os.environ["NEARTIME_TEST_AWS"],
    )
    with open(os.path.join(folder, "neartime.toml"), "w") as config:
        config.write(CONFIG.format(**values))
        config.writelines(SOURCE.format(kind=kind, due=due, **values) for kind, due in KINDS.items())


def database(name):
    return f"{os.environ['NEARTIME_TEST_POSTGRES'].rsplit('/', 1)[0]}/{name}".rstrip("/")


def claims():
    """When each task's last claim was made, in seconds since the epoch, by source, lane and chunk."""
    query = "copy (select source, file_path, data_chunk, fence from tasks) to stdout (format csv)"
    found = subprocess.run(["psql", "-q", database(NAME), "-c", query], check=True, capture_output=True, text=True).stdout
    rows = csv.reader(found.splitlines())
    return {(source, path.strip("/").split("/")[-1], int(chunk) // 1_000_000): int(fence) / 1e6 for source, path, chunk, fence in rows}


def daemon(binary, folder):
    log = open(os.path.join(folder, "daemon.log"), "ab")
    return subprocess.Popen([binary, "run"], cwd=folder, stdout=log, stderr=log)


def get(binary, folder, kind, user):
    shown = subprocess.run([binary, "get", f"{kind}_count", "--id", user, "--json"], cwd=folder, capture_output=True)
    return shown.returncode == 0 and json.loads(shown.stdout)


def look(binary, folder, wait):
    """Asks until the row is there; gives up after five minutes."""
    while time.time() < wait.since + 300:
        if get(binary, folder, wait.kind, wait.user):
            wait.until = time.time()
            return
        time.sleep(0.1)
    raise SystemExit(f"{wait.user} never came")


@dataclasses.dataclass
class Wait:
    """One row that is waited for."""

    kind: str
    lane: int
    chunk: int
    since: float = 0.0
    until: float = 0.0

    @property
    def user(self):
        return f"u{self.chunk}-{self.lane}"

    def put(self):
        line = json.dumps({"user": self.user, "time": self.chunk}).encode()
        name = time.strftime("%Y/%m/%d/%H%M", time.gmtime(self.chunk))
        self.since = time.time()
        aws("s3", "PUT", f"/{NAME}/{self.kind}/{self.lane}/{name}.gz", gzip.compress(line))


def measure(binary, folder, daemons, options, kind, kill):
    waits, lookers = [], []
    for _ in range(options.minutes):
        chunk = int(time.time()) // 60 * 60
        round = [Wait(kind, lane, chunk) for lane in range(options.lanes)]
        if kind == "scheduled":
            for wait in round:
                wait.put()
                wait.since = chunk + 60
            time.sleep(max(0, chunk + 60 - time.time()))
        else:
            # At any second of the minute, so that no poll is met in step.
            time.sleep(random.uniform(0, max(0, chunk + 45 - time.time())))
            for wait in round:
                wait.put()
        for wait in round:
            lookers.append(threading.Thread(target=look, args=(binary, folder, wait)))
            lookers[-1].start()
        waits += round
        if kill:
            time.sleep(random.random())
            victim = random.randrange(len(daemons))
            daemons[victim].kill()
            daemons[victim].wait()
            daemons[victim] = daemon(binary, folder)
        time.sleep(max(0, chunk + 60 - time.time()) + 0.1)
    for looker in lookers:
        looker.join()
    claimed = claims()
    claim_of = [claimed[wait.kind, str(wait.lane), wait.chunk] for wait in waits]
    tell(kind, kill, "whole wait", [wait.until - wait.since for wait in waits])
    tell(kind, kill, "until the claim", [at - wait.since for at, wait in zip(claim_of, waits)])
    tell(kind, kill, "work and look", [wait.until - at for at, wait in zip(claim_of, waits)])


def tell(kind, kill, what, seconds):
    seconds = sorted(seconds)
    at = lambda share: seconds[min(len(seconds) - 1, int(len(seconds) * share))]
    title = f"{kind}, {'one killed each minute' if kill else 'in peace'}"
    print(f"{title:<36} {what:<16} n={len(seconds)}  p50 {at(0.5):6.2f}  p99 {at(0.99):6.2f}  worst {seconds[-1]:6.2f} s", flush=True)


def look_itself(binary, folder, times=20):
    """What `get` takes for a row that is not there: process, configuration, connection, select."""
    seconds = []
    for _ in range(times):
        begun = time.time()
        get(binary, folder, "scheduled", "nobody")
        seconds.append(time.time() - begun)
    print(f"a look takes {sorted(seconds)[times // 2]:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--lease", default="10s")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    os.environ["AWS_ENDPOINT_URL"] = os.environ["NEARTIME_TEST_AWS"]
    os.environ["NEARTIME_ONLINE_STORE__PASSWORD"] = os.environ["NEARTIME_TEST_CASSANDRA_PASSWORD"]
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder, options.lease)
        daemons = [daemon(binary, folder) for _ in range(2)]
        time.sleep(10)
        for kind in KINDS:
            for kill in (False, True):
                measure(binary, folder, daemons, options, kind, kill)
        look_itself(binary, folder)
        for running in daemons:
            running.terminate()
        ended = [running.wait() for running in daemons]
        print(f"daemons ended with {ended}")


if __name__ == "__main__":
    main()
