"""Request bodies of the page."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from moa_graph.prompting.attachments import enclose_file
from moa_graph.server.errors import ApiError
from moa_graph.server.proposal_edits import ProposalEdit

MAX_ATTACHMENTS = 20
MAX_ATTACHED_CHARS = 2_000_000  # of all files: more than any model reads
MAX_TITLE_CHARS = 200

NonEmptyText = Annotated[str, Field(min_length=1)]


def _to_line(text: str) -> str:
    return " ".join(text.split())


class RequestBody(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Attachment(RequestBody):
    """A text file attached to a question."""

    name: NonEmptyText
    text: str

    def enclosed(self) -> str:
        """The text with marks that distinguish it from the question."""
        return enclose_file(self.text.rstrip(), _to_line(self.name).replace('"', "'"))


class AskRequest(RequestBody):
    """`POST /api/ask`."""

    question: NonEmptyText
    thread: NonEmptyText | None = None
    mixture: str | None = None
    attachments: list[Attachment] = Field(default=[], max_length=MAX_ATTACHMENTS)

    def with_attachments(self) -> str:
        """Append the text of the files to the question, as `moa ask --file` does.

        Raises:
            ApiError: If there is no question, or too much text.
        """
        if not self.question.strip():
            raise ApiError(400, "question: empty", param="question")
        chars = sum(len(each.text) for each in self.attachments)
        if chars > MAX_ATTACHED_CHARS:
            message = f"attachments: {chars:,} characters; expected at most {MAX_ATTACHED_CHARS:,}"
            raise ApiError(413, message, param="attachments")
        return "\n\n".join([self.question, *(each.enclosed() for each in self.attachments)])


class ThreadRequest(RequestBody):
    """`POST /api/stop` and `POST /api/delete`."""

    thread: NonEmptyText


class ResumeRequest(ThreadRequest):
    """`POST /api/resume`."""

    aggregator: NonEmptyText | None = None
    """Another model of the mixture, as `provider:model`, that writes the answer."""
    lower_quorum: bool = False
    """Whether a layer without its quorum goes on with the answers that it has."""


class ReportRequest(ThreadRequest):
    """`POST /api/report`."""

    checkpoint: NonEmptyText | None = None


class RenameRequest(ThreadRequest):
    """`POST /api/rename`."""

    title: Annotated[str, AfterValidator(_to_line), Field(max_length=MAX_TITLE_CHARS)]
    """The title; empty to remove it."""


class ContinueRequest(RequestBody):
    """`POST /api/continue`."""

    thread: NonEmptyText
    checkpoint: NonEmptyText
    edits: dict[str, ProposalEdit] = {}
    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens of the answer; by default that of the mixture."""
