"""Which mode pays: precomputing for everybody, predicting when asked, or keeping what was asked for once."""
