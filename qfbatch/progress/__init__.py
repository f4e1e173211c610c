"""What happened, as data, and those who watch it: the display, the log, the event file."""
