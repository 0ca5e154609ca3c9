"""A small network of real bytes: signed repos and real servers, for what a real server never does."""
