"""What is waited for, and behind whom."""
