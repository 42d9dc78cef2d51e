-- Writes how far the completions were searched for a feature, and never less than before. $1 feature, $2 version, $3 completions
-- up to this number were searched
UPDATE features SET checked = greatest(checked, $3) WHERE feature = $1 AND version = $2
