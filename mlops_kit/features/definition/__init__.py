"""What features are: sources, windows and aggregations, as people write them and as a bundle keeps them."""
