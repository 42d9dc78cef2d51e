"""The report over one real day of Wikipedia edits (segment = channel, site = namespace, any order), against DuckDB.

usage: wikiticker.py PROGRAM TAR WORK    (TAR is wikiticker's raw-data-reservoir.tar, WORK an empty folder)
"""

import pathlib
import subprocess
import sys
import tarfile

import duckdb

COLUMNS = "site, segment, segment_users, group_users, segment_site_users, group_site_users"


def main():
    program, tar, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    work.mkdir(parents=True)
    with tarfile.open(tar) as archive:
        archive.extractall(work / "raw", filter="data")
    db = duckdb.connect()
    db.execute(f"""create table edits as
        select "user" as id, channel, namespace, cast(time as timestamp) as time, date_trunc('hour', cast(time as timestamp)) as hour
        from read_json('{work}/raw/**/*.gz', format = 'newline_delimited')""")
    for feature, item in [("user_segments", "channel"), ("user_sites", "namespace")]:
        for (hour,) in db.execute("select distinct hour from edits").fetchall():
            folder = work / "store" / feature / hour.strftime("year=%Y/month=%m/day=%d/hour=%H")
            folder.mkdir(parents=True)
            db.execute(f"""
                copy (select id, {item} as item, min(time)::timestamp_ms as min_ts, max(time)::timestamp_ms as max_ts
                      from edits where hour = '{hour}' group by all order by all)
                to '{folder}/edits.parquet' (format parquet, compression zstd,
                    kv_metadata {{"neartime.version": '1', "neartime.generation": '1'}})""")
    ours = work / "ours.csv"
    with open(ours, "wb") as out:
        subprocess.run([program, "any", work / "store", work / "udb", "2015-09-13T00:00:00Z"], stdout=out, check=True)
    db.execute(f"create table ours as select {COLUMNS} from read_csv('{ours}', header = true)")
    db.execute("""create table theirs as
        with s as (select distinct id, channel as segment from edits),
             p as (select distinct id, namespace as site from edits),
             pairs as (select site, segment, count(*) as users from s join p using (id) group by all)
        select site, segment, segment_users, (select count(distinct id) from s) as group_users,
               coalesce(users, 0) as segment_site_users, group_site_users
        from (select segment, count(*) as segment_users from s group by all)
             cross join (select site, count(distinct id) as group_site_users from p join s using (id) group by all)
             left join pairs using (site, segment)""")
    for left, right in [("ours", "theirs"), ("theirs", "ours")]:
        different = db.execute(f"select * from {left} except all select * from {right} limit 3").fetchall()
        if different:
            sys.exit(f"only in {left}: {different}")
    print(f"wikiticker: {db.execute('select count(*) from ours').fetchone()[0]} cells, the same in DuckDB")


if __name__ == "__main__":
    main()
