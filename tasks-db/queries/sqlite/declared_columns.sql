-- The columns of every version of every feature, newest first
SELECT feature, columns
FROM features
ORDER BY feature, version DESC
