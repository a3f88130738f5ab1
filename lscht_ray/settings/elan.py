"""Which annotations of ELAN's files are signs."""

from pydantic import BaseModel, ConfigDict, Field


class ElanMap(BaseModel):
    """Where the signs stand in the .eaf files of a data folder (layout elan)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tier: str | None = Field(None, min_length=1)
    """The tier whose annotations are the glosses; * stands for anything, as in 'Glosa*' for a tier per signer, and
    several may be named with a comma between them.
    null: the only one with annotations; where there are several, they are listed."""
    vocabulary: str | None = Field(None, min_length=1)
    """The controlled vocabulary whose entries are the glosses, in its order; other annotations are passed over and
    counted. null: every annotation is a gloss."""
    media: int = Field(1, ge=1)
    """Which of the linked videos is used, from 1."""
