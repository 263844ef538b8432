"""``consentry reviews``: the questions that wait for a person, and their answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from consentry_server.cli_calls import CaOption, CertOption, KeyOption, ServerArgument, calling
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.phrases import word
from consentry_server.core.vocabulary import DeterminationKind, Operation  # noqa: TC001 - typer reads the annotations
from consentry_server.services.reviews import State  # noqa: TC001 - as above

if TYPE_CHECKING:
    from consentry import Client

app = typer.Typer(help="Questions that wait for a person.", no_args_is_help=True, rich_markup_mode=None)
_out = Console(highlight=False, markup=False)
_messages = Console(stderr=True, highlight=False, markup=False)

DAYS = 180
"""How long a determination holds unless said otherwise."""


ReviewArgument = Annotated[str, typer.Argument(metavar="REVIEW_ID", help="rev_...", show_default=False)]


@app.command("list")
def list_reviews(
    server: ServerArgument,
    state: Annotated[State | None, typer.Option(help="Only those in this state.", show_default="all")] = None,
    operation: Annotated[
        Operation | None, typer.Option(help="Only those about this operation.", show_default="all")
    ] = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """List reviews, oldest first."""
    import consentry  # noqa: PLC0415 - gRPC takes half the time of a start

    wanted: dict[str, Any] = {}
    if state is not None:
        wanted["state"] = consentry.ReviewState[state]
    if operation is not None:
        wanted["operation"] = consentry.Operation[operation]
    table = Table("review", "state", "operation", "purpose", "data", "algorithm", "asked", "allowed", box=None)
    table.columns[0].no_wrap, table.columns[0].min_width = (
        True,
        36,
    )  # whole, since it is what show and resolve are given
    count = 0
    with calling(server, ca, cert, key) as client:
        for review in client.list_reviews(**wanted):
            count += 1
            table.add_row(
                review.review_id,
                _state(review),
                _word(consentry.Operation, review.operation),
                _word(consentry.Purpose, review.purpose),
                _word(consentry.DataCategory, review.category),
                f"{review.algorithm_id} {review.algorithm_version}".strip() or "not named",
                str(review.decision_count),
                str(review.allowed_since_count),
            )
    if count:
        _out.print(table)
    else:
        _messages.print("no review" if state is None else f"no review is {word(state)}")


@app.command()
def show(
    server: ServerArgument,
    review_id: ReviewArgument,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Show one review: what was asked, what the rules found, and what has answered it."""
    with calling(server, ca, cert, key) as client:
        _print(_find(client, review_id), reasons=True)


@app.command()
def resolve(
    server: ServerArgument,
    review_id: ReviewArgument,
    refuse: Annotated[str, typer.Option(metavar="REASON", help="Refuse: such requests are denied from now on.")] = "",
    determine: Annotated[
        DeterminationKind | None, typer.Option(help="What was determined.", show_default=False)
    ] = None,
    authority: Annotated[str, typer.Option(help="The authority relied on; with --determine.")] = "",
    evidence: Annotated[str, typer.Option(help="Where the evidence is kept; with --determine.")] = "",
    author: Annotated[str, typer.Option(help="Who wrote it; with --determine.")] = "",
    contract: Annotated[str, typer.Option(help="The contract or order that it rests on, a slug.")] = "",
    recipient: Annotated[str, typer.Option(help="About this recipient alone, a slug.")] = "",
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How many days it holds.")] = DAYS,
    approve: Annotated[bool, typer.Option("--approve", help="Approve what another officer determined.")] = False,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Answer a review with an officer's certificate: --refuse, --determine, or --approve as the second officer."""
    if bool(refuse) + (determine is not None) + approve != 1:
        raise ConsentryError(
            Reason.FIELD_REQUIRED, "one of --refuse REASON, --determine KIND and --approve is required", field="refuse"
        )
    import consentry  # noqa: PLC0415 - gRPC takes half the time of a start

    with calling(server, ca, cert, key) as client:
        if refuse:
            entry = client.resolve_review(review_id, refusal_reason=refuse).entry.index
            said = f"refused in entry {entry}: such requests are denied from now on"
        elif determine is not None:
            review = _find(client, review_id)
            now = datetime.now(UTC)
            made = consentry.Determination(
                kind=consentry.DeterminationKind[determine],
                authority=authority,
                evidence_reference=evidence,
                author=author,
                decide_time=now,
                expire_time=now + timedelta(days=days),
                operations=[consentry.Operation(review.operation)],
                purposes=[consentry.Purpose(review.purpose)],
                algorithm_id=review.algorithm_id,
                algorithm_version=review.algorithm_version,
                recipient_id=recipient,
                contract_id=contract,
            )
            answer = client.resolve_review(review_id, determination=made)
            said = (
                f"{answer.determination.determination_id} recorded in entry {answer.entry.index}: it allows nothing"
                f" before another officer approves it (consentry reviews resolve {server} {review_id} --approve)"
            )
        else:
            waiting = _find(client, review_id).determination_id
            if not waiting:
                raise ConsentryError(
                    Reason.STATE_CONFLICT, "no determination waits for approval here: resolve it first", field="approve"
                )
            approved = client.approve_determination(waiting)
            said = f"{waiting} approved in entry {approved.entry.index}: it is in effect"
        _print(_find(client, review_id), reasons=False)
    _messages.print(said, soft_wrap=True)


def _find(client: Client, review_id: str) -> Any:
    for review in client.list_reviews(page_size=1_000):
        if review.review_id == review_id:
            return review
    raise ConsentryError(Reason.NOT_FOUND, f"there is no review {review_id}: see `consentry reviews list`")


def _print(review: Any, *, reasons: bool) -> None:
    import consentry  # noqa: PLC0415 - gRPC takes half the time of a start

    algorithm = f"{review.algorithm_id} {review.algorithm_version}".strip()
    rows = [
        ("review", f"{review.review_id}, {_state(review)}"),
        ("operation", _word(consentry.Operation, review.operation)),
        ("purpose", _word(consentry.Purpose, review.purpose)),
        ("data", _word(consentry.DataCategory, review.category)),
        ("algorithm", algorithm or "not named"),
        ("asked", f"{review.decision_count} x since {review.create_time.ToDatetime():%Y-%m-%d %H:%M} UTC"),
        ("first decision", review.first_decision_id),
    ]
    if review.determination_id:
        rows.append(("determination", f"{review.determination_id}, {review.allowed_since_count} allowed since"))
    table = Table(box=None, show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    _out.print(table)
    for reason in review.reasons if reasons else ():
        _out.print(f"\n{reason.rule_id} {reason.code} ({reason.citation or 'of a pack that is active no more'})")
        if reason.text:
            _out.print(f"  {reason.text}\n  {reason.remedy}")


def _state(review: Any) -> str:
    from consentry import ReviewState  # noqa: PLC0415 - gRPC takes half the time of a start

    return word(str(ReviewState.read(review.state)))


def _word(kind: Any, number: int) -> str:
    return word(str(kind.read(number)))
