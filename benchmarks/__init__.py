"""How fast the library is, measured beside what bounds it: `make bench`."""
