-- One swap at a time, the first included; readers are not held up.
LOCK TABLE air_reports IN SHARE ROW EXCLUSIVE MODE
