-- Tables of earlier runs: stages that were never published, and reports that were replaced.
SELECT name FROM sqlite_master
 WHERE type = 'table' AND (name GLOB 'air_report_stage_*' OR name GLOB 'air_report_inputs_stage_*'
                           OR name GLOB 'air_report_old_*' OR name GLOB 'air_report_inputs_old_*')
