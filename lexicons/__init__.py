"""The network's words: syntax, data model, schemas. Never does I/O on the network or the database."""
