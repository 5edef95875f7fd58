"""Small programs for those who edit the book."""
