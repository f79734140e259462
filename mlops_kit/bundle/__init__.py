"""The bundle: an exported model as an immutable directory, named by its digest. Nothing in it is executed."""
