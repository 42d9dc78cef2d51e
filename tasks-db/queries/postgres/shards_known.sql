-- Whether a stream was ever declared. $1 source, $2 stream
SELECT EXISTS (SELECT 1 FROM stream_shards WHERE source = $1 AND stream = $2) AS known
