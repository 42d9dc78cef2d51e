-- The path had its turn. $1 path, $2 number of the claim
UPDATE paths SET served = $2, claims = claims + 1 WHERE path_id = $1
