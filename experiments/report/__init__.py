"""The page that a study writes, and what it prints."""
