UPDATE air_reports SET live = FALSE WHERE live
