"""From a trained model to a bundle: one file per framework, and the parity check that all of them pass."""
