"""The modes: every module here is one, called after its file. See `mlops_kit.bench.interface`."""
