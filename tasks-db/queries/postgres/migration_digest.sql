-- What a migration's text comes to, to tell whether it was changed after it was run. $1 text of the migration
SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')
