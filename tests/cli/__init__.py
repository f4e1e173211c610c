"""qfbatch from outside: commands, files and exit codes as users meet them."""
