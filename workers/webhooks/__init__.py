"""Webhook deliveries: claimed, sent to untrusted servers, recorded."""
