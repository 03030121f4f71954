"""W&B behind a port; the SDK is imported in one module."""
