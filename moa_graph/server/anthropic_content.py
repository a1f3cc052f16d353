"""Content blocks of Anthropic's messages, validated field by field."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)


class RequestModel(BaseModel):
    """Base class of parts of a request; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class TextBlock(RequestModel):
    """Text."""

    type: Literal["text"]
    text: str


class Base64Source(RequestModel):
    """An image as data."""

    type: Literal["base64"]
    media_type: str = Field(pattern=r"^image/[\w.+-]{1,50}$")
    data: str


class UrlSource(RequestModel):
    """The URL of an image."""

    type: Literal["url"]
    url: str


class ImageBlock(RequestModel):
    """An image."""

    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource, Discriminator("type")]


class TextSource(RequestModel):
    """The text of a document."""

    type: Literal["text"]
    data: str


def tag_content(value: Any) -> str:
    """Return which of the two forms a content has."""
    return "blocks" if isinstance(value, list) else "text"


class ContentSource(RequestModel):
    """Content parts of a document."""

    type: Literal["content"]
    content: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[
            Annotated[
                list[Annotated[TextBlock | ImageBlock, Discriminator("type")]],
                Field(fail_fast=True),
            ],
            Tag("blocks"),
        ],
        Discriminator(tag_content),
    ]


class DocumentBlock(RequestModel):
    """A text document; other documents would need a model that reads them."""

    type: Literal["document"]
    source: Annotated[TextSource | ContentSource, Discriminator("type")]
    title: str | None = None
    context: str | None = None


class SearchResultBlock(RequestModel):
    """A search result of the client."""

    type: Literal["search_result"]
    source: str
    title: str
    content: Annotated[list[TextBlock], Field(fail_fast=True)]


class ToolUseBlock(RequestModel):
    """A tool call in an earlier answer."""

    type: Literal["tool_use"]
    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    input: dict[str, Any]


ResultBlock = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock, Discriminator("type")
]


class ToolResultBlock(RequestModel):
    """The result of a tool call."""

    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1)
    content: Annotated[
        Annotated[str | None, Tag("text")]
        | Annotated[Annotated[list[ResultBlock], Field(fail_fast=True)], Tag("blocks")],
        Discriminator(tag_content),
    ] = None
    is_error: bool | None = None


ForeignType = Literal[
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "mcp_tool_result",
    "mcp_tool_use",
    "redacted_thinking",
    "server_tool_use",
    "text_editor_code_execution_tool_result",
    "thinking",
    "tool_search_tool_result",
    "web_fetch_tool_result",
    "web_search_tool_result",
]


class ForeignBlock(RequestModel):
    """Reasoning of another model, or a tool that Anthropic ran; models do not read it."""

    type: ForeignType


ContentBlock = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ForeignBlock,
    Discriminator("type"),
]
_BLOCKS_OF_ROLES: Mapping[str, frozenset[str]] = {
    "assistant": frozenset({"text", "tool_use", *get_args(ForeignType)}),
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image", "document", "search_result", "tool_result"}),
}


class MessageParam(RequestModel):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[Annotated[list[ContentBlock], Field(fail_fast=True)], Tag("blocks")],
        Discriminator(tag_content),
    ]

    @field_validator("content")
    @classmethod
    def _check_blocks(cls, value: Any, info: ValidationInfo) -> Any:
        role = info.data.get("role", "user")
        if isinstance(value, str):
            return value
        for block in value:
            if block.type not in _BLOCKS_OF_ROLES[role]:
                expected = ", ".join(sorted(_BLOCKS_OF_ROLES[role]))
                raise ValueError(
                    f"expected of the role {role!r} blocks of: {expected}; got {block.type!r}"
                )
        if not value and role != "assistant":
            raise ValueError("empty; expected at least one block")
        return value

    @property
    def blocks(self) -> Sequence[Any]:
        """The content as blocks."""
        if isinstance(self.content, str):
            return [TextBlock(type="text", text=self.content)]
        return self.content
