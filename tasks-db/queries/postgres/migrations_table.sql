-- Which migrations were run.
CREATE TABLE neartime_migrations (
    number  bigint NOT NULL PRIMARY KEY,
    digest  text   NOT NULL, -- SHA-256 of its text
    done_at bigint NOT NULL
)
