"""Escape strings that a chat template could read as markers. Pure functions.

A tokenizer reads a string such as `<|im_end|>` as one token anywhere in a text, which ends a turn.
Such strings have a few forms. The first character of each is replaced by an HTML entity.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from unicodedata import normalize

# Characters that are always invisible or change the direction of a text: control characters,
# fillers, variation selectors of letters, and code points that Unicode reserves as ignorable.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0080-\U000e0fff]"
)
# Tag characters are valid in the flags of England, Scotland and Wales; elsewhere they hide text.
_TAGS = re.compile(
    "(\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074"
    "|\U000e0077\U000e006c\U000e0073)\U000e007f)|[\U000e0000-\U000e007f]"
)
_SYMBOLS = "\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# Emoji variation selectors are valid after a symbol or in a keycap.
_STRAY_STYLES = re.compile(f"(?<![{_SYMBOLS}])[\ufe0e\ufe0f](?!(?<=[#*0-9]\ufe0f)\u20e3)")
# Joiners are valid between Arabic or Indic letters, and between emoji.
_STRAY_JOINERS = re.compile(
    f"(?<![\u0590-\u10ff\u1780-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe0f\ufe70-\ufefc{_SYMBOLS}"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f])[\u200c\u200d]"
)
_IGNORED = re.compile("[\u200c\u200d\ufe0e\ufe0f\U000e0000-\U000e007f]")  # remains of these

_CONTROL_NAMES = (  # alone or with suffixes: <image>, <image_start>, <SPECIAL_10>
    "special|reserved|unused|extra_id|placeholder|bos|eos|pad|unk|sep|cls|mask|so[pt]|eo[acdhmprt]|eosys"
    "|bo[mt]|role|image|img|audio|video|vision|thinking|thoughts?|sentence|utterance|answer|longcat"
    "|minimax|seed|mm|atem|arg_(?:key|value)|box|ref|quad|point|slice|ai|bot|human|2mass|\u7528\u6237"
    # Markers of code tokenizers.
    "|fim|jupyter|file(?:name|path|_sep|_content)|(?:add|delete|rename|edit|source|empty_source)_files?"
    "|repo_?(?:name|struct)|gh_stars|empty_output|issue_(?:start|comment|closed)|pr(?:_[a-z]{1,20}){0,4}"
    "|commit_(?:before|after|msg|message)|review_comment|code_(?:context|interpreter)|row_[0-9]{1,4}"
    "|intermediate_to_code|code_to_intermediate"
)
# Only in capitals: lower case would be HTML or prose.
_CONTROL_NAMES_IN_CAPITALS = "PRE|SUF|MID|AVAILABLE_TOOLS|[BC]_[A-Z]{1,8}"
_BRACKETED_NAMES = (
    "(?:SYSTEM|TOOLS?|AVAILABLE|MODEL|BEGIN|END|NEXT|REPEAT|STREAMING|AUDIO|OUTPUT|TEXT|IMG|CALL|UNUSED"
    "|CONTROL|SPECIAL|RESERVED|REFERENCE)(?:_[A-Z0-9]{1,20}){1,4}|ARGS|IMG|AUDIO|PREFIX|SUFFIX|MIDDLE|TRANSCRIBE"
    "|BOS|EOS|EOT|EOM|PAD[0-9]{0,6}|UNK|CLS|SEP|[gs]?MASK|@BOS@|multimodal|toxicity=[0-9]|(?:start|end)_header_id"
    "|(?i:inst|think|unused_?[0-9]{1,6})"
)
# Possessive `*+` for blanks: two adjacent stars would backtrack in quadratic time.
_MARKERS = re.compile(
    rf"""
    <(?=\s*+/?\s*+(?:
        \|                                                          # <|im_end|>, <|turn>
        | [a-zA-Z][a-zA-Z0-9_]{{0,40}}\|>                               # <turn|>
        | (?!(?<=\w<)[A-Z][a-z])                                    # List<User> is a type
          (?i:response|result-|system|user|assistant|tool|turn|im_|think
              |start_of|end_of|begin(?:ning)?_of|function(?:=|_call))  # <tool_call>
        | (?i:/?s>|_(?:user|bot|end|start|system)>)                 # </s>
        | (?!(?<=\w<)[A-Z][a-z])
          (?i:(?:[a-z0-9]{{1,20}}[_:-]){{0,4}}(?:{_CONTROL_NAMES})
              (?:[_:-][a-z0-9_]{{1,40}}|[0-9]{{1,6}}){{0,4}}>)      # <seed:bos>, <extra_id_0>
        | /?(?:{_CONTROL_NAMES_IN_CAPITALS})>
    ))
    | <(?=<\s*+/?SYS)                                               # <<SYS>>
    | \[(?=\s*+(?:
        /?\s*+(?:{_BRACKETED_NAMES})\s*+\]                          # [/INST], [TOOL_CALLS]
        | \|\s*+[A-Za-z_]{{2,30}}\s*+\|\s*+\]                       # [|system|]
        | [a-z]~\[                                                 # [e~[
    ))
    | \](?=~!?[a-z][\[\]]|![a-z]~\[|<\][a-z0-9.\ ]{{1,30}}\[>\[)       # ]~b], ]<]image[>[
    | >(?=>[A-Z]{{3,20}}<<)                                         # >>TITLE<<
    | \|(?=\|\|[A-Z_]{{3,30}}\|\|\|)                                # |||IP_ADDRESS|||
    | \u25c1(?=/?[a-z_]{{1,20}}\u25b7)                              # Kimi's triangles
    | /(?=nothink)
    """,
    re.VERBOSE,
)
_ENTITIES = {"<": "&lt;", ">": "&gt;"}


def escape_markers(text: str) -> str:
    """Escape strings that could pass for a tag or a chat marker, and remove hidden characters.

    Markers are searched in the text as a tokenizer may read it: without invisible characters and
    after Unicode normalization NFKC, which converts a full-width `<` (U+FF1C) to ASCII.
    """
    visible = drop_hidden_characters(text)
    pieces, end = list[str](), 0
    for start in _marker_starts(visible):
        pieces += [visible[end:start], _to_entity(visible[start])]
        end = start + 1
    return "".join([*pieces, visible[end:]])


def drop_hidden_characters(text: str) -> str:
    """Remove invisible characters, except those that scripts and emoji need."""
    text = _HIDDEN.sub("", text)
    if text.isascii():
        return text
    text = _TAGS.sub(lambda match: match[1] or "", text)
    return _STRAY_JOINERS.sub("", _STRAY_STYLES.sub("", text))


def _marker_starts(text: str) -> Iterator[int]:
    """Return the positions of the first characters of markers."""
    folded = text if text.isascii() else text.translate(_FOLDED_CHARACTERS)
    starts = (match.start() for match in _MARKERS.finditer(folded))
    if folded == text:
        yield from starts
        return
    sizes = (len(_FOLDED_CHARACTERS[ord(character)]) for character in text)
    ends = list(accumulate(sizes))
    position = -1
    for start in starts:
        if (index := bisect_right(ends, start)) > position:
            yield (position := index)


def _to_entity(character: str) -> str:
    plain = _FOLDED_CHARACTERS[ord(character)]
    return _ENTITIES.get(plain) or "".join(f"&#{ord(each)};" for each in plain)


class _FoldedCharacters(dict[int, str]):
    """Maps a code point to the characters that a tokenizer may read for it."""

    def __missing__(self, number: int) -> str:
        """Normalize a single character: sorting long runs of combining marks is quadratic."""
        character = chr(number)
        folded = "" if _IGNORED.match(character) else normalize("NFKC", character)
        self[number] = folded
        return folded


_FOLDED_CHARACTERS = _FoldedCharacters()
