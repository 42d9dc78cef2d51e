-- How far the completions were searched for a feature, and how many there are. $1 feature, $2 version
SELECT f.checked, CASE WHEN c.is_called THEN c.last_value ELSE 0 END AS completions
FROM features f, completions c
WHERE f.feature = $1
  AND f.version = $2
