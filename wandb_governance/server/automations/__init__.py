"""Automations: triggers on events and the integrations they act through."""
