"""Generated from `proto/cis/v1` by `proto/generate.py`; do not edit."""
