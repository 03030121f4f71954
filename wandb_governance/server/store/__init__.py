"""What is kept: one SQLite file in WAL mode and a folder of content-addressed blobs."""
