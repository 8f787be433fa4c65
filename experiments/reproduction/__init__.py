"""All claims of the papers: their runs, what is kept of them, and the table."""
