"""The `mlkit` command: one file per subcommand; each parses, calls mlops_kit and prints."""
