"""What can't be lost? Records in, a durable hash-chained log out."""
