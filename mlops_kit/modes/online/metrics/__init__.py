"""What all worker processes of a server count, in memory that they share."""
