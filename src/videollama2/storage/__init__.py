"""Files that grow or are replaced, and survive being killed at any byte."""
