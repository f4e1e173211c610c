"""Reports as text: the same figures for a terminal, for Markdown, for a spreadsheet and for a program."""
