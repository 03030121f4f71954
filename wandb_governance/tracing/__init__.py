"""What is a call? Values in, frozen spans out; imports nothing above it."""
