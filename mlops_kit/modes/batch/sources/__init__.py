"""Where the rows of a batch run come from."""
