-- Stages of runs that died, or that came too late.
SELECT relname::text
  FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace
   AND relkind = 'r'
   AND relname ~ '^air_report(_inputs)?_stage_[0-9]+$'
