"""What is measured: functions from a seed to figures, one module a group of scenarios."""
