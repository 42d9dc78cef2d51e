-- How far the completions were searched for a feature, and how many there are. $1 feature, $2 version
SELECT f.checked, (SELECT n.value FROM numbers n WHERE n.name = 'completions') AS completions
FROM features f
WHERE f.feature = $1
  AND f.version = $2
