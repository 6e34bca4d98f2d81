"""Webhooks: where callers want to be told, what they are told, and the deliveries of it. Sends nothing itself.

A delivery is planned in the transaction of its event, so that neither exists without the other, and is work that is
claimed with a lease and a fence like a job. Bodies hold ids, states and digests: never an input or a result.
"""
