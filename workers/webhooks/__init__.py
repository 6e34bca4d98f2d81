"""Webhook deliveries: claimed, sent to servers that nobody trusts, recorded."""
