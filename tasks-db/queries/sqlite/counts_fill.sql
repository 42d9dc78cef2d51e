-- How much a reading refused or noticed, by reason. ?1 task, ?2 counts, each reason once (JSON [[reason, count], …])
INSERT INTO read_counts (task_id, reason, count)
SELECT ?1, c.value ->> 0, c.value ->> 1
FROM json_each(?2) c
