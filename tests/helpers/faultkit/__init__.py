"""What the fault tests are made of: files, ways to break them, and what is a right answer."""
