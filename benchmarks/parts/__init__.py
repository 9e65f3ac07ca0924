"""The parts of the benchmarks: each module's `measure(profile)` returns what it measured, raw."""
