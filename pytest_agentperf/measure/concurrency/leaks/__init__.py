"""What is left behind: tasks, threads, files."""
