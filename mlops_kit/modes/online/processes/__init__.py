"""One supervisor and its workers: who starts, replaces, tells and stops whom."""
