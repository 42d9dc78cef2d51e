-- The number of the next claim: the turn of its path. A sequence, as claims must not wait for each other.
SELECT nextval('claim_turns')
