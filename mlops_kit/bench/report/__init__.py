"""A result for people and for programs: one page of HTML, Markdown, cells of a table, JSON."""
