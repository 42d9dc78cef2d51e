"""moto's server, with what it gets wrong about shards set right.

Kinesis leaves the records of a shard that is split or merged where they are, and gives new ones to its children; moto moves them
all, and goes on to give records to closed shards.
"""

from moto.kinesis.models import Stream
from moto.server import main

split_shard, merge_shards = Stream.split_shard, Stream.merge_shards
get_shard_for_key = Stream.get_shard_for_key


def open_shard_for_key(stream, partition_key, explicit_hash_key):
    every = stream.shards
    stream.shards = {name: shard for name, shard in every.items() if shard.is_open}
    try:
        return get_shard_for_key(stream, partition_key, explicit_hash_key)
    finally:
        stream.shards = every


def leaving_records(change):
    def changed(stream, *arguments):
        before = {name: shard.records.copy() for name, shard in stream.shards.items()}
        change(stream, *arguments)
        for name, shard in stream.shards.items():
            shard.records = before.get(name, type(shard.records)())
    return changed


Stream.get_shard_for_key = open_shard_for_key
Stream.split_shard, Stream.merge_shards = leaving_records(split_shard), leaving_records(merge_shards)

if __name__ == "__main__":
    main()
