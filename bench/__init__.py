"""The benchmarks: MXSeal beside Postfix on one machine in one run. `python -m bench --help`."""
