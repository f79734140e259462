"""Rows that come from no file are copied into one beside the run, and scored from there: so a run can resume."""
