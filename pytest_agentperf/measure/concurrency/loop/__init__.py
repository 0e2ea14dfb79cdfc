"""What holds the event loop up: a watchdog, and what it makes of what it sees."""
