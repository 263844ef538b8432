"""What a guard does with an answer, apart from sending: both guards share it.

A guard's rules:

1. It asks before the block, with a permit. Without an answer the block does not run.
2. An answer that does not fit the question is no answer.
3. Nothing allowed, or no permit: `Denied`. With ``require_all``, any refused face too.
4. The permit carries the allowed faces only, and serves until it expires or the block ends.
5. The end of the block is reported once: performed, not performed, or failed where an exception leaves it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from consentry import _calls
from consentry.errors import Denied, InvalidRequest, PermissionDenied, PermitExpired, ReportFailed, Unavailable
from consentry.inputs import Box, Check, Face
from consentry.vocabulary import DataCategory, Operation, Outcome, ProcessingResult, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from consentry.errors import ConsentryError
    from consentry.inputs import Photo, Source
    from consentry.results import Decision, FaceDecision
    from consentry.v1 import gate_service_pb2

B = TypeVar("B")

# The data that an operation on a photo makes, where it can be told from the operation alone: of two, the stricter.
CATEGORY: Mapping[Operation, DataCategory] = MappingProxyType(
    {
        Operation.STORE: DataCategory.PHOTO,
        Operation.RETAIN: DataCategory.PHOTO,
        Operation.DISPLAY: DataCategory.PHOTO,
        Operation.DETECT_FACES: DataCategory.FACE_GEOMETRY,
        Operation.ANALYZE_ATTRIBUTES: DataCategory.FACE_GEOMETRY,
        Operation.CHECK_QUALITY: DataCategory.FACE_GEOMETRY,
        Operation.EXTRACT_TEMPLATE: DataCategory.FACE_TEMPLATE,
        Operation.ENROLL: DataCategory.FACE_TEMPLATE,
        Operation.VERIFY: DataCategory.FACE_TEMPLATE,
        Operation.IDENTIFY: DataCategory.FACE_TEMPLATE,
        Operation.CLUSTER_FACES: DataCategory.FACE_TEMPLATE,
        Operation.HASH_IMAGE: DataCategory.IMAGE_HASH,
    }
)


def boot_seconds() -> float:
    """Return seconds on a clock that nobody sets; where the system has one, it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class CheckedFace:
    """One face as it was asked for, with its answer; ``face`` is None where none was named."""

    face: Face | None
    decision: FaceDecision

    @property
    def index(self) -> int:
        """The position in the request."""
        return self.decision.index

    @property
    def box(self) -> Box | None:
        """Where it is, as the caller said."""
        return self.face.box if self.face else None

    @property
    def subject_id(self) -> str:
        """Who it is, as the caller said; empty: unidentified."""
        return self.face.subject_id if self.face else ""

    @property
    def biometric(self) -> bool:
        """Whether a template of it may be made: False for ALLOW_NONBIOMETRIC."""
        return self.decision.outcome is Outcome.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is sent to RecordProcessing when a block ends."""

    decision_id: str
    result: ProcessingResult
    algorithm_id: str
    algorithm_version: str
    perform_time: datetime | None
    face_indices: tuple[int, ...]
    detail: str
    request_id: str

    def call(self) -> _calls.Call[gate_service_pb2.RecordProcessingResponse]:
        """Return the call."""
        return _calls.record_processing(
            self.decision_id,
            self.result,
            algorithm_id=self.algorithm_id,
            algorithm_version=self.algorithm_version,
            perform_time=self.perform_time,
            face_indices=self.face_indices,
            detail=self.detail,
            request_id=self.request_id,
        )

    def failed(self, cause: ConsentryError, error: BaseException | None) -> None:
        """Tell that the report did not reach the record: as an error of its own, or as a note on one that is under way.

        Raises:
            ReportFailed: no other error is under way.
        """
        text = f"{self.result} of {self.decision_id} could not be reported: {cause}"
        if error is None:
            raise ReportFailed(
                text, decision_id=self.decision_id, result=self.result, request_id=self.request_id
            ) from cause
        error.add_note(text)


class BasePermit:
    """Permission for the allowed faces of one question. It serves inside its block until it expires.

    Attributes:
        decision: the recorded decision.
        allowed_faces: the faces that may be processed.
        refused_faces: those that may not; each with its reasons in ``decision``.

    Raises:
        Unavailable: the answer does not fit the question.
    """

    def __init__(self, check: Check, decision: Decision, *, asked_at: float, clock: Callable[[], float]) -> None:
        # (2) one decision per face, in order; a permit has its times
        wanted = list(range(max(1, len(check.faces))))
        if [face.index for face in decision.faces] != wanted:
            raise Unavailable(f"{decision.decision_id} does not answer for each face: do not process")
        if decision.permit and (decision.check_time is None or decision.expire_time is None):
            raise Unavailable(f"{decision.decision_id} has a permit without an expiry: do not process")
        faces = [CheckedFace(check.faces[face.index] if check.faces else None, face) for face in decision.faces]
        self.decision = decision
        self.allowed_faces = tuple(face for face in faces if face.decision.allowed)
        self.refused_faces = tuple(face for face in faces if not face.decision.allowed)
        self._check = check
        self._clock = clock
        self._answered_at = clock()
        self._life = _life(decision)
        self._expires_at = asked_at + self._life.total_seconds()
        self._result = ProcessingResult.PERFORMED
        self._detail = ""
        self._face_indices: tuple[int, ...] = ()
        self._report: Report | None = None

    def __repr__(self) -> str:
        indices = [face.index for face in self.allowed_faces]
        return f"<Permit of {self.decision.decision_id} for faces {indices}, expires {self.expires}>"

    @property
    def biometric(self) -> bool:
        """Whether templates may be made of every allowed face: False where one is ALLOW_NONBIOMETRIC."""
        return bool(self.allowed_faces) and all(face.biometric for face in self.allowed_faces)

    @property
    def expires(self) -> datetime | None:
        """When it ends, by the server's clock."""
        return self.decision.expire_time

    @property
    def token(self) -> str:
        """The signed permit (JWT), a secret.

        Raises:
            PermitExpired: its life or its block is over.
        """
        self.ensure_live()
        return self.decision.permit

    def ensure_live(self) -> None:
        """Raise unless the permit may still be used; for blocks that take long.

        Its life is counted from before the question was sent, on this machine's own clock: a clock that differs from
        the server's makes no difference, and errors are on the strict side.

        Raises:
            PermitExpired: its life or its block is over. Ask again.
        """
        if self._report is not None:
            raise PermitExpired("the block of this permit is over: ask again")
        if self._clock() >= self._expires_at:
            raise PermitExpired(f"the permit of {self.decision.decision_id} lived {self._life}: ask again")

    def not_performed(self, detail: str = "") -> None:
        """Let the end of the block report that nothing was done; ``detail`` says why, at most 2,000 characters."""
        self._result, self._detail = ProcessingResult.NOT_PERFORMED, detail

    def performed_on(self, face_indices: Sequence[int], detail: str = "") -> None:
        """Let the end of the block report these faces only, instead of all that are allowed.

        Raises:
            PermissionDenied: one of them is not allowed.
        """
        for index in face_indices:
            self._allowed_face(index)
        if not face_indices:
            raise InvalidRequest("name at least one face, or say not_performed", field="face_indices")
        self._result, self._detail, self._face_indices = ProcessingResult.PERFORMED, detail, tuple(face_indices)

    def refusal(self, *, require_all: bool) -> Denied | None:
        """Return why the block must not run, if so."""
        granted = bool(self.decision.permit) and bool(self.allowed_faces)  # (3)
        if granted and not (require_all and (self.refused_faces or not self.decision.allowed)):
            return None
        return Denied(self.decision)

    def report(self, error: BaseException | None) -> Report:
        """End the permit and return what to report; ``error`` is what leaves the block."""
        if self._report is not None:  # (5) once
            return self._report
        result, detail, indices = self._result, self._detail, self._face_indices
        if error is not None:
            # the kind of error only: its message may hold what must not leave this process
            result, detail, indices = ProcessingResult.FAILED, type(error).__name__, ()
        elapsed = timedelta(seconds=max(0.0, self._clock() - self._answered_at))
        checked = self.decision.check_time
        self._report = Report(
            decision_id=self.decision.decision_id,
            result=result,
            algorithm_id=self._check.algorithm_id,
            algorithm_version=self._check.algorithm_version,
            # on the server's clock, so that it is never in its future
            perform_time=checked + elapsed if checked and result is not ProcessingResult.NOT_PERFORMED else None,
            face_indices=indices,
            detail=detail,
            request_id=_calls.new_request_id(),
        )
        return self._report

    def _photo_id(self) -> str:
        if not isinstance(self._check.photo, str):
            raise InvalidRequest("the vault opens photos by id; this check named a SHA-256", field="photo")
        return self._check.photo

    def _allowed_face(self, index: int) -> CheckedFace:
        for face in self.allowed_faces:
            if face.index == index:
                return face
        raise PermissionDenied(f"face {index} is not allowed by {self.decision.decision_id}", field="face_index")

    def _require_template(self, index: int) -> None:
        if not self._allowed_face(index).biometric:
            raise PermissionDenied(f"face {index} is allowed as a photo only, never for a template", field="face_index")


class BaseGuard(ABC, Generic[B]):
    """Asks before each block of processing and reports after it; see `processing`.

    Args:
        algorithm_id: the algorithm that runs inside, a slug.
        algorithm_version: its exact version, at most 64 characters.
        clock: seconds that only grow; the life of permits is counted with it.
    """

    def __init__(self, *, algorithm_id: str, algorithm_version: str, clock: Callable[[], float] = boot_seconds) -> None:
        if not algorithm_id or not algorithm_version:
            raise InvalidRequest("a guard names its algorithm and version", field="algorithm_id")
        self._algorithm_id = algorithm_id
        self._algorithm_version = algorithm_version
        self._clock = clock

    def processing(
        self,
        photo: Photo,
        faces: Sequence[Face] = (),
        *,
        operation: Operation,
        purpose: Purpose,
        category: DataCategory | None = None,
        require_all: bool = False,
        source: Source | None = None,
        recipient_id: str = "",
        regions: Sequence[str] = (),
        uses_face_geometry: bool | None = None,
        identifies: bool | None = None,
        stored: bool | None = None,
        linked_identity: bool | None = None,
        collection_method_id: str = "",
        permit_audience: str = "",
        permit_single_use: bool = False,
    ) -> B:
        """Guard one block of processing: ask before it, report after it.

        Args:
            photo: its id, or the SHA-256 of a photo that the vault does not hold.
            faces: every face in it, bystanders too. None: as if there were one unidentified face.
            operation: what the block does.
            purpose: what for.
            category: the data that it is on or makes. None: told from the operation, where that can be.
            require_all: whether one refused face refuses the block.
            source: where the photo comes from.
            recipient_id: who gets the data, a slug.
            regions: regions beyond those on record.
            uses_face_geometry: whether face geometry is measured; None: unknown, which is not no. So the next three.
            identifies: whether a person is identified by it.
            stored: whether its result is stored.
            linked_identity: whether its result is linked to an identity.
            collection_method_id: how the data is collected, a slug.
            permit_audience: who will present the permit, where it is not this caller.
            permit_single_use: whether the permit is for one use.

        Raises:
            Denied: nothing is allowed; or not everything, with ``require_all``. Raised on entering.
            ConsentryError: no answer; raised on entering. The block does not run.
            ReportFailed: the block ended well, but its report was not recorded; raised on leaving.
        """
        category = category or CATEGORY.get(operation)
        if category is None:
            raise InvalidRequest(f"say the data category of {operation}", field="category")
        check = Check(
            operation=operation,
            purpose=purpose,
            category=category,
            photo=photo,
            faces=tuple(faces),
            source=source,
            recipient_id=recipient_id,
            regions=regions,
            uses_face_geometry=uses_face_geometry,
            identifies=identifies,
            stored=stored,
            linked_identity=linked_identity,
            algorithm_id=self._algorithm_id,
            algorithm_version=self._algorithm_version,
            collection_method_id=collection_method_id,
            want_permit=True,
            permit_audience=permit_audience,
            permit_single_use=permit_single_use,
        )
        return self._block(check, require_all=require_all)

    @abstractmethod
    def _block(self, check: Check, *, require_all: bool) -> B: ...


def _life(decision: Decision) -> timedelta:
    if decision.check_time is None or decision.expire_time is None:
        return timedelta(0)
    return decision.expire_time - decision.check_time
