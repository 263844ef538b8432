"""Crashes, failing disks and power cuts, on purpose: ``python -m tests.faults`` is the long form."""
