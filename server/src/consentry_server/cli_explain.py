"""``consentry law explain``: why a decision came out as it did, as a tree that a lawyer can follow."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console, Group
from rich.text import Text
from rich.tree import Tree

from consentry_server.cli_filters import CaOption, CertOption, KeyOption, SourceArgument, TenantOption, access, opened
from consentry_server.cli_sources import StateFolder, is_subject_ref
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.terms import decision_index
from consentry_server.services.context import Caller, Role
from consentry_server.services.explaining import Explaining
from consentry_server.services.packs import Packs
from consentry_server.tenant import bundled_packs, engine_version, now

if TYPE_CHECKING:
    from rich.console import RenderableType

    from consentry.v1 import gate_service_pb2 as pb
    from consentry_server.cli_sources import Source

MAX_FILE_BYTES: Final = 2**20
MAX_REASONS: Final = 8
"""Named above the tree; all of them stand in it."""
TEXT_WIDTH: Final = 118
"""Longer lines are hard to follow in a tree, however wide the terminal is."""
_MARKS: Final = {
    "TRUE": ("✓", "green"),
    "FALSE": ("·", "dim"),
    "UNKNOWN": ("?", "yellow"),
    "FAILED": ("!", "bold red"),
    "NOT_APPLICABLE": ("○", "dim"),
}
_WORDS: Final = {"FALSE": "no: ", "UNKNOWN": "not known: ", "FAILED": "failed: ", "NOT_APPLICABLE": "not asked: "}
_OUTCOMES: Final = {
    "DENY": "bold red",
    "REVIEW": "bold yellow",
    "ALLOW": "bold green",
    "ALLOW_NONBIOMETRIC": "bold cyan",
}
_PERMITS: Final = frozenset({"ALLOW", "ALLOW_NONBIOMETRIC"})
_out = Console(highlight=False, markup=False)


def explain(
    source: SourceArgument,
    decision: Annotated[
        str, typer.Argument(metavar="[DECISION_ID]", help="A recorded decision: dec_…", show_default=False)
    ] = "",
    hypothetical: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="A CheckRequest as JSON: what would be decided now. For a state folder, subjectId is sub_….",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Everything that was looked at, what is met and what does not apply too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the whole trace as JSON.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Explain a recorded decision on the facts and packs of its day, or a hypothetical one on those of now."""
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415 - the other commands start without gRPC

    from consentry.v1 import gate_service_pb2  # noqa: PLC0415 - see above

    if bool(decision) is (hypothetical is not None):
        raise ConsentryError(Reason.FIELD_REQUIRED, "name either a DECISION_ID or --hypothetical FILE.json")
    if decision and decision_index(decision) < 0:
        raise ConsentryError(Reason.FIELD_INVALID, f"{decision!r} is no decision's id (dec_…)", field="decision_id")
    request = gate_service_pb2.ExplainRequest()
    if hypothetical is None:
        request.decision_id = decision
    else:
        request.hypothetical.CopyFrom(_read(hypothetical))
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        response = _here(ledger, request) if isinstance(ledger, StateFolder) else _there(ledger, request)
    if as_json:
        typer.echo(MessageToJson(response))
        return
    _out.print(render(response, full=full, width=min(_out.width, TEXT_WIDTH)))


def render(response: pb.ExplainResponse, *, full: bool, width: int = TEXT_WIDTH) -> RenderableType:
    """The trace for a terminal.

    Args:
        response: The trace.
        full: Whether what is met and what does not apply is unfolded too.
        width: Columns for a line of text.
    """
    parts: list[RenderableType] = [_head(response)]
    for step in response.steps:
        tree = Tree(_label(step, width), guide_style="dim")
        for below in step.steps:
            _grow(tree, below, full=full, width=width - 4)
        parts += [Text(), tree]
    if not response.complete:
        parts.append(Text("\nThis is not the whole of the recorded decision: see the steps marked !", "bold yellow"))
    legend = "✓ holds   ✗ refuses   · does not hold   ? not known   ○ not asked   ! could not be evaluated"
    more = "" if full else "   --full unfolds what is met and what does not apply"
    parts.append(Text(f"\n{legend}{more}", "dim"))
    return Group(*parts)


def _head(response: pb.ExplainResponse) -> Text:
    from consentry.v1 import vocabulary_pb2  # noqa: PLC0415 - see explain

    made = response.decision
    outcome = vocabulary_pb2.Outcome.Name(made.outcome).removeprefix("OUTCOME_")
    text = Text(outcome, _OUTCOMES[outcome])
    if made.decision_id:
        text.append(f"  {made.decision_id}", "bold")
        text.append(
            f"\nrecorded {made.check_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC as entry {made.entry.index}", "dim"
        )
        text.append(f" by engine {made.engine_version}; on the facts and packs of that moment", "dim")
    else:
        text.append("  hypothetical", "bold")
        text.append("\non the facts and packs of now; nothing is recorded and nothing permitted", "dim")
    packs = ", ".join(f"{pack.pack_id} {pack.version}" for pack in made.packs)
    if packs:
        text.append(f"\nactive packs: {packs}", "dim")
    refusing = {vocabulary_pb2.OUTCOME_DENY, vocabulary_pb2.OUTCOME_REVIEW}
    refused = [] if outcome in _PERMITS else [one for one in made.reasons if one.outcome in refusing or not one.text]
    if refused:
        text.append("\n\nbecause", "bold")
    for reason in refused[:MAX_REASONS]:
        name = vocabulary_pb2.Outcome.Name(reason.outcome).removeprefix("OUTCOME_")
        text.append(f"\n  {reason.text or reason.code}", _OUTCOMES.get(name, "").removeprefix("bold "))
        text.append(f"  {reason.rule_id}", "dim")
    if len(refused) > MAX_REASONS:
        text.append(f"\n  and {len(refused) - MAX_REASONS} more", "dim")
    return text


def _grow(tree: Tree, step: pb.ExplanationStep, *, full: bool, width: int) -> None:
    branch = tree.add(_label(step, width))
    if not full and _is_settled(step):
        return
    for below in step.steps:
        _grow(branch, below, full=full, width=width - 4)


def _is_settled(step: pb.ExplanationStep) -> bool:
    """What a reader may take as read: rules that are met, parts that do not apply."""
    result = _result(step)
    if result == "NOT_APPLICABLE" or (step.rule_id and result == "TRUE"):
        return True
    return bool(step.rule_id) and bool(step.steps) and all(_result(below) == "TRUE" for below in step.steps)


def _label(step: pb.ExplanationStep, width: int) -> Text:
    """A step: its mark, its sentence, and below it where the law says so, on which entries, and what would help."""
    from consentry.v1 import vocabulary_pb2  # noqa: PLC0415 - see explain

    result = _result(step)
    outcome = vocabulary_pb2.Outcome.Name(step.outcome).removeprefix("OUTCOME_")
    mark, style = _MARKS[result]
    word = _WORDS.get(result, "")
    if outcome in _OUTCOMES and result != "FAILED":
        style, word = _OUTCOMES[outcome], f"{outcome}: "
        mark = "✓" if outcome in _PERMITS else "✗"
    plain = "dim" if result == "NOT_APPLICABLE" or style == "dim" else ""
    text = Text(f"{mark} ", style)
    text.append(word, style)
    if step.rule_id:
        text.append(f"{step.rule_id}  ", "bold" if not plain else "dim")
    text.append(step.text, plain)
    if step.citation:
        grade = vocabulary_pb2.Grade.Name(step.grade).removeprefix("GRADE_").lower().replace("_", " ")
        text.append(f"\n  {step.citation}", "italic dim")
        text.append(f" · {grade}" if step.grade else "", "dim")
    if step.basis_indices:
        known = ", ".join(str(index) for index in step.basis_indices)
        noun = "entry" if len(step.basis_indices) == 1 else "entries"
        text.append(f" · {noun} {known}" if step.citation else f"  [{noun} {known}]", "dim")
    if step.remedy:
        text.append(f"\n  what would help: {step.remedy}", "cyan")
    lines = Text()
    for place, line in enumerate(text.wrap(_out, max(width - 4, 40))):
        line.rstrip()
        lines.append("\n  " if place and not line.plain.startswith("  ") else "\n" if place else "")
        lines.append_text(line)
    return lines


def _result(step: pb.ExplanationStep) -> str:
    from consentry.v1 import gate_service_pb2  # noqa: PLC0415 - see explain

    return gate_service_pb2.StepResult.Name(step.result).removeprefix("STEP_RESULT_")


def _read(path: Path) -> pb.CheckRequest:
    from google.protobuf.json_format import Parse, ParseError  # noqa: PLC0415 - see explain

    from consentry.v1 import gate_service_pb2  # noqa: PLC0415 - see explain

    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise ConsentryError(Reason.TOO_LARGE, f"{path} is longer than 1 MiB", field="hypothetical")
        return Parse(data, gate_service_pb2.CheckRequest())
    except OSError as error:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{path} cannot be read: {error.strerror}", field="hypothetical"
        ) from error
    except (ParseError, UnicodeDecodeError) as error:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{path} is no CheckRequest as JSON: {error}", field="hypothetical"
        ) from error


def _here(folder: StateFolder, request: pb.ExplainRequest) -> pb.ExplainResponse:
    """Explain from the files, with a server or without one."""
    from consentry_server.adapters.grpc import explain as written  # noqa: PLC0415 - see explain
    from consentry_server.adapters.grpc import read_gate  # noqa: PLC0415 - see explain

    explaining = Explaining(
        reader=folder.reader,
        store=folder.store,
        packs=Packs([pack for pack, _ in bundled_packs()], folder.store.fetch_document),
        engine=engine_version(),
        unknown_regions=frozenset(folder.settings.gate.unknown_regions),
        reference=_reference,
    )
    if request.decision_id:
        found = explaining.recorded(request.decision_id, decision_index(request.decision_id))
    else:
        caller = Caller(folder.ledger.rpartition("/")[2], Role.OPERATOR, "command")
        time = now()
        found = explaining.hypothetical(read_gate.check(written.supposed(request.hypothetical), caller, time), time)
    return written.explained(folder.ledger, found)


def _there(ledger: Source, request: pb.ExplainRequest) -> pb.ExplainResponse:
    """Ask a server."""
    from consentry.v1 import gate_service_pb2_grpc  # noqa: PLC0415 - see explain
    from consentry_server.cli_remote import SECONDS, RemoteLedger, answers  # noqa: PLC0415 - see explain

    if not isinstance(ledger, RemoteLedger):
        raise TypeError(type(ledger).__name__)
    with answers():
        answer: pb.ExplainResponse = gate_service_pb2_grpc.GateServiceStub(ledger.channel).Explain(
            request, timeout=SECONDS
        )
    return answer


def _reference(subject_id: str) -> str:
    """Files do not tell whom a caller's own id means: that takes the tenant's keys."""
    if not is_subject_ref(subject_id):
        raise ConsentryError(
            Reason.FIELD_INVALID,
            "subjectId must be a reference such as sub_k3j5h2w4... here: your own id of a person can be looked up by a"
            " live server only (SOURCE as HOST:PORT)",
            field="hypothetical.faces.subject_id",
        )
    return subject_id
