"""Webhooks: where callers want to be notified, what they are sent, and its deliveries. Sends nothing itself.

A delivery is planned in the transaction of its event, so that neither exists without the other, and is claimed with a
lease and a fence like a job. Bodies hold ids, states and digests: never an input or a result.
"""
