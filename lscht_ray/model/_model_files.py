"""What a model's config.json and preprocessor_config.json may say."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

Kind = TypeVar("Kind", bound=BaseModel)
SHOWN = 60
"""Letters of a wrong value that a message shows at most."""


class SettingError(ValueError):
    """A setting of a model's file is wrong. The message says which, its value, and what is allowed."""


def _whole(default: int, most: int) -> Any:
    """A whole number. More than the most would fill any memory, or take for ever."""
    return Field(default, ge=1, le=most, description=f"1 to {most}")


class ConfigFile(BaseModel):
    """What a model's config may say (transformers' VideoMAEConfig), as far as a wrong value would end in a traceback.

    The descriptions say what is allowed.
    """

    model_config = ConfigDict(strict=True, extra="ignore")

    hidden_size: int = _whole(768, 1 << 14)
    intermediate_size: int = _whole(3072, 1 << 17)
    num_hidden_layers: int = _whole(12, 1 << 8)
    num_attention_heads: int = _whole(12, 1 << 8)
    num_frames: int = _whole(16, 1 << 12)
    image_size: int = _whole(224, 1 << 12)
    patch_size: int = _whole(16, 1 << 10)
    tubelet_size: int = _whole(2, 1 << 8)
    num_labels: int = _whole(2, 1 << 20)
    num_channels: Literal[3] = Field(3, description="3")
    hidden_act: str = Field("gelu", description="names of functions, such as 'gelu'")
    hidden_dropout_prob: float = Field(0.0, ge=0, lt=1, description="0 to below 1")
    attention_probs_dropout_prob: float = Field(0.0, ge=0, lt=1, description="0 to below 1")
    initializer_range: float = Field(0.02, gt=0, le=10, description="numbers above 0, to 10")
    layer_norm_eps: float = Field(1e-12, gt=0, lt=1, description="numbers above 0, below 1")
    qkv_bias: bool = Field(True, description="true and false")
    qv_bias: bool = Field(True, description="true and false")
    use_mean_pooling: bool = Field(True, description="true and false")
    architectures: list[str] | None = Field(None, description="lists of names")
    id2label: dict[str, object] | None = Field(None, description='names by their numbers, as in {"0": "hola"}')
    label2id: dict[str, object] | None = Field(None, description='numbers by their names, as in {"hola": 0}')
    dtype: Annotated[str, Field(pattern=r"^(torch\.)?(float(16|32|64)|bfloat16)$|^auto$")] | None = Field(
        None,
        alias="torch_dtype",
        validation_alias=AliasChoices("dtype", "torch_dtype"),
        description="float32, float16, bfloat16, float64",
    )
    position_grid: list[Annotated[int, Field(ge=1, le=1 << 8)]] | None = Field(
        None, min_length=3, max_length=3, description="three numbers of tubelets: in time, in height and in width"
    )
    quantization_config: None = Field(None, description="models that are not quantized")


class ProcessorFile(BaseModel):
    """What is used of a model's preprocessor_config.json: how colours from 0 to 1 are normalised."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    image_mean: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.5] * 3, min_length=3, max_length=3, description="a number from 0 to 1 for each of three colours"
    )
    image_std: list[Annotated[float, Field(ge=0.01, le=1)]] = Field(
        [0.5] * 3, min_length=3, max_length=3, description="a number from 0.01 to 1 for each of three colours"
    )
    do_normalize: Literal[True] = Field(True, description="true")
    do_rescale: Literal[True] = Field(True, description="true")
    rescale_factor: float = Field(1 / 255, ge=0.999 / 255, le=1.001 / 255, description="1/255 (0.00392...)")


def read_as(kind: type[Kind], content: dict[str, object]) -> Kind:
    """The settings of a file.

    Raises:
        SettingError: One is wrong.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        place = str(error.errors()[0]["loc"][0])
        field = next(field for name, field in kind.model_fields.items() if place in (name, field.alias))
        written = repr(content[place])
        value = written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
        raise SettingError(f"{place} is {value}: allowed are {field.description}") from None
