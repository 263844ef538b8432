"""What is handed to others as it is: files that run without this package."""
