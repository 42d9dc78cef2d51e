SELECT fence,
       (extract(epoch FROM as_of) * 1000000)::bigint AS as_of_us,
       row_count, suppressed, input_files,
       (extract(epoch FROM published_at) * 1000000)::bigint AS published_at_us
  FROM air_reports
 WHERE live
