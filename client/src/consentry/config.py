"""How long a client waits, how often it tries again, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of a client.

    Every call has a deadline, retries included; when it passes there is no answer, which is never an allow.
    A transfer may take ``transfer_deadline_seconds`` plus its size over ``slowest_bytes_per_second``; where the size is
    not known beforehand, ``max_photo_bytes`` stands for it.

    Attributes:
        check_deadline_seconds: for one Check.
        unary_deadline_seconds: for every other call that is no transfer.
        transfer_deadline_seconds: what an upload or opening may take beside its bytes.
        slowest_bytes_per_second: the slowest link on which a transfer still gets through.
        max_photo_bytes: the most bytes that ``open_photo`` puts into memory; the server's default limit.
        chunk_bytes: bytes per message of an upload, at most 1 MiB (vault_service.proto).
        max_attempts: how often a call is sent at most while the server is unavailable, 1 to 5; always with the same
            request_id and only where that is safe. 5 is gRPC's own limit (gRFC A6).
    """

    check_deadline_seconds: float = 2.0
    unary_deadline_seconds: float = 5.0
    transfer_deadline_seconds: float = 10.0
    slowest_bytes_per_second: int = MIB
    max_photo_bytes: int = 50 * MIB
    chunk_bytes: int = 256 * 1024
    max_attempts: int = 4

    def __post_init__(self) -> None:
        positive = (self.check_deadline_seconds, self.unary_deadline_seconds, self.transfer_deadline_seconds)
        if min(positive) <= 0 or self.slowest_bytes_per_second <= 0 or self.max_photo_bytes <= 0:
            raise ValueError("deadlines, rates and sizes are more than 0")
        if not 1 <= self.chunk_bytes <= MIB:
            raise ValueError("chunk_bytes is 1 to 1,048,576")
        if not 1 <= self.max_attempts <= 5:  # noqa: PLR2004 - gRFC A6
            raise ValueError("max_attempts is 1 to 5")

    def transfer_seconds(self, size: int | None = None) -> float:
        """Return the deadline of a transfer of ``size`` bytes; None: as much as is taken at all."""
        return self.transfer_deadline_seconds + (size or self.max_photo_bytes) / self.slowest_bytes_per_second


DEFAULT_CONFIG = Config()
