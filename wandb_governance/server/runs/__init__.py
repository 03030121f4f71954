"""Runs: config, summary, history, console, files, resume, rewind, stop, crash detection."""
