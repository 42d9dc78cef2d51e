SELECT fence, as_of, row_count, suppressed, input_files, published_at FROM air_reports WHERE live
