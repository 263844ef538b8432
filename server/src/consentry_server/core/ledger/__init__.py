"""The ledger: entry bytes, Merkle tree, tiles, checkpoints, receipts, export and verification.

Bytes follow public formats: RFC 8785, RFC 6962, and C2SP's ``tlog-tiles``, ``tlog-checkpoint``, ``signed-note``,
``tlog-cosignature`` and ``tlog-proof``. Everything here is pure: values in, values out.
"""
