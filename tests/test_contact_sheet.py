"""The contact sheet of `check`: what the model that is given sees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification, VideoMAEImageProcessor

from lscht_ray.artifacts import fonts
from lscht_ray.checking import survey
from lscht_ray.clips import reader
from lscht_ray.clips.dataset import ClipDataset, Position
from lscht_ray.clips.transforms import TrainingTransform
from lscht_ray.host.console import quiet_console
from lscht_ray.model.shape import TINY
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.build import build_model
from support.doors import Door


@pytest.mark.parametrize("size", [24, 32])
def test_the_contact_sheet_shows_the_input_of_the_model_that_is_given(
    small: Path, door: Door, tmp_path: Path, size: int
) -> None:
    """At its size, with its normalisation: the crops are those of training, and what is erased is the mean colour."""
    mean, std = [0.2, 0.4, 0.6], [0.5, 0.25, 0.125]
    VideoMAEForVideoClassification(VideoMAEConfig(**{**TINY, "image_size": size, "patch_size": 8})).save_pretrained(
        tmp_path / "model"
    )
    VideoMAEImageProcessor(image_mean=mean, image_std=std).save_pretrained(tmp_path / "model")
    given: dict[str, Any] = {"num_frames": 4, "erasing_probability": 1.0, "brightness": 0.0, "contrast": 0.0, "seed": 5}
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    sheet_flags = ("--contact-sheet", tmp_path / "s.png", "--model_name", tmp_path / "model")
    result = door("check", small, *sheet_flags, *flags, cwd=tmp_path)
    assert result.returncode in (0, 1), result.stderr
    with Image.open(tmp_path / "s.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    config = TrainConfig(data=str(small), model_name=str(tmp_path / "model"), **given)
    clips = survey.ready(config, quiet_console())
    model = build_model(config, clips.glosses)
    first = next(clip for clip in clips.clips if clip.gloss == clips.glosses[0] and clip.split == "train")
    varied = reader.augmentation(config)
    dataset = ClipDataset(
        [first],
        reader=reader.reader(config, model.clip_format),
        sampling=reader.sampling(config, training=True),
        seed=5,
        augmentation=varied,
    )
    (made,) = TrainingTransform(model.clip_format, varied)(dataset[Position(1, 0)])
    colours = made * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    frame = Image.fromarray((colours[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy())
    shown = pixels[18 + 96 : 18 + 2 * 96, :96]
    assert np.abs(shown.astype(int) - np.asarray(frame.resize((96, 96))).astype(int)).max() <= 1
    grey = [round(255 * value) for value in mean]
    assert (np.abs(shown.astype(int) - grey).max(axis=2) <= 1).mean() > 0.015  # the erased rectangle


LETTERS = {"Spanish": "ñáéíóúüÑ¿¡", "Turkish": "çğıİöşüÇĞÖŞÜ", "Mapudungun": "ḻṉṯüÜ", "Greek": "αβγ", "Russian": "жщы"}


@pytest.mark.parametrize("language", LETTERS)
def test_glosses_are_written_in_their_letters(language: str) -> None:
    """A letter that a font lacks is drawn as a box, the same for all of them."""
    file, text = fonts.for_text(LETTERS[language])
    font = ImageFont.truetype(file, 13)
    box = bytes(font.getmask("\uffff"))
    assert text == LETTERS[language]
    assert [letter for letter in text if bytes(font.getmask(letter)) == box] == []


def test_letters_that_no_font_here_has_are_written_by_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: iter([("DejaVu Sans", str(fonts.usual_file()))]))
    fonts._all_letters.cache_clear()
    try:
        assert fonts.for_text("你好 casa")[1] == "\\u4f60\\u597d casa"
        assert fonts.drawable("你 ñ") == "\\u4f60 ñ"
        assert fonts.for_texts(["你好", "ñ"]) == ["DejaVu Sans"]
    finally:
        fonts._all_letters.cache_clear()


def test_another_font_is_taken_for_letters_that_the_usual_one_lacks() -> None:
    """matplotlib brings STIX, which has letters that DejaVu lacks: as Noto has Chinese ones where it is installed."""
    letter = chr(0x20D2)
    assert fonts.for_texts(["casa"]) == ["DejaVu Sans"]
    chosen = fonts.for_texts(["casa", letter])
    assert chosen[0] == "DejaVu Sans"
    assert len(chosen) == 2
    file, text = fonts.for_text(letter)
    assert file != fonts.usual_file()
    assert text == letter
