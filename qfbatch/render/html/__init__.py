"""The report as one page for a browser: figures, charts and answers in a single file that asks nobody."""
