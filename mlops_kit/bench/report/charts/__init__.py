"""Charts as SVG. Colours and shapes come by the number of a series, from the page's style."""
