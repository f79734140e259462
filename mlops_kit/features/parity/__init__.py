"""The proof that vectors served are those that history gives: what is logged of them, and how it is compared."""
