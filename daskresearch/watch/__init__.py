"""What is told of a run while it goes on: progress, observers, the monitor."""
