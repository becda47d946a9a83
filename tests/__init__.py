"""The tests; a package, so that processes they spawn find these before an installed one called tests."""
