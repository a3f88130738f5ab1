"""ELAN's files, written by pympi and by hand, become signs of their linked videos."""

import re
from pathlib import Path
from typing import Any

import pytest
from pympi.Elan import Eaf  # type: ignore[import-untyped]

from lscht_ray.dataset.annotations import Annotations, read
from lscht_ray.errors import InputError
from lscht_ray.settings.elan import ElanMap
from lscht_ray.video.span import Span


def session(file: Path, tiers: dict[str, list[tuple[int, int, str]]], **media: Any) -> Path:
    """Write an .eaf file, and its video beside it (empty)."""
    eaf = Eaf(author="")
    eaf.remove_tier("default")
    video = media.pop("video", f"{file.stem}.mp4")
    for tier, annotations in tiers.items():
        eaf.add_tier(tier, part=tier.partition("@")[2])
        for start, end, text in annotations:
            eaf.add_annotation(tier, start, end, text)
    if video:
        eaf.add_linked_file(f"file:///C:/Users/Ana/{video}", f"./{video}", "video/mp4", **media)
        (file.parent / video).parent.mkdir(parents=True, exist_ok=True)
        (file.parent / video).touch()
    file.parent.mkdir(parents=True, exist_ok=True)
    eaf.to_file(str(file))
    return file


SIGNS = [(500, 1750, "HOLA"), (2000, 3000, " MAÑANA "), (4000, 5000, ""), (6000, 7000, "HOLA")]


def found(annotated: Annotations) -> list[tuple[str, str, str | None, Span | None]]:
    return [(s.video.name, s.gloss, s.signer, s.span) for s in annotated.samples]


def test_a_folder_of_sessions_is_recognised_and_read(tmp_path: Path) -> None:
    session(tmp_path / "sesión 1.eaf", {"Glosa@ana": SIGNS})
    session(tmp_path / "sesión 2.eaf", {"Glosa@luis": [(0, 1000, "CASA")]}, time_origin=250)
    annotated = read(tmp_path, elan=ElanMap(tier="Glosa*"), plan={"fractions": (0.0, 0.0)})
    assert annotated.layout == "elan"
    assert sorted(found(annotated), key=str) == sorted(
        [
            ("sesión 1.mp4", "HOLA", "ana", Span(0.5, 1.75, "second")),
            ("sesión 1.mp4", "MAÑANA", "ana", Span(2.0, 3.0, "second")),
            ("sesión 1.mp4", "HOLA", "ana", Span(6.0, 7.0, "second")),
            ("sesión 2.mp4", "CASA", "luis", Span(0.25, 1.25, "second")),
        ],
        key=str,
    )
    assert annotated.glosses == ("CASA", "HOLA", "MAÑANA")
    assert "1 annotation is empty and passed over" in annotated.notes


def test_tiers_are_listed_where_none_is_named(tmp_path: Path) -> None:
    tiers = {"Glosa@ana": SIGNS, "Traducción": [(500, 3000, "Hola, ¿qué tal mañana?")], "Vacía": []}
    file = session(tmp_path / "s.eaf", tiers)
    for data in (tmp_path, file):
        with pytest.raises(InputError) as caught:
            read(data)
        assert str(caught.value).splitlines() == [
            f"{data}: say which tier's annotations are the signs, one of",
            "  --elan.tier Glosa@ana: 3 annotations, 2 different, signed by ana: 'HOLA', 'MAÑANA'",
            "  --elan.tier 'Traducción': 1 annotation, 1 different: 'Hola, ¿qué tal mañana?'",
        ]
    with pytest.raises(InputError, match=r"--elan.tier Gloss: no tier of that name .*\n  --elan.tier Glosa@ana"):
        read(tmp_path, elan=ElanMap(tier="Gloss"))


def test_the_tiers_of_all_signers_are_offered_together(tmp_path: Path) -> None:
    tiers = {"Glosa Ana": SIGNS, "Glosa de Luis": SIGNS[3:], "Notas": [(0, 500, "luz")], "Notas-2": SIGNS}
    session(tmp_path / "s.eaf", tiers)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert str(caught.value).splitlines()[-1] == "  --elan.tier 'Glosa *': these 2 tiers together, 4 annotations"
    assert len(read(tmp_path, elan=ElanMap(tier="Glosa *")).samples) == 3  # one is there twice
    (note,) = [note for note in read(tmp_path, elan=ElanMap(tier="Glosa Ana")).notes if "ELAN" in note]
    assert note == "1 ELAN files, signs from 'Glosa Ana'; not from 'Glosa de Luis', 'Notas', 'Notas-2'"


def test_several_tiers_may_be_named(tmp_path: Path) -> None:
    session(tmp_path / "s.eaf", {"Glosa_Ana": SIGNS[:1], "Luis-gloss": SIGNS[1:2], "Frase": SIGNS[3:], "a, b": SIGNS})
    several = read(tmp_path, elan=ElanMap(tier="Glosa_Ana, Luis-*"))
    assert sorted(gloss for _, gloss, _, _ in found(several)) == ["HOLA", "MAÑANA"]
    assert len(read(tmp_path, elan=ElanMap(tier="a, b")).samples) == 3


@pytest.mark.parametrize("unit", ["PAL-frames", "seconds"])
def test_other_units_of_time_are_refused(tmp_path: Path, unit: str) -> None:
    file = session(tmp_path / "s.eaf", {"G": SIGNS})
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub("<HEADER[^>]*>", f'<HEADER TIME_UNITS="{unit}">', text, count=1), encoding="utf-8")
    with pytest.raises(InputError, match=rf"s\.eaf .*: its TIME_UNITS are '{unit}': only milliseconds can be read"):
        read(tmp_path)


def test_two_sessions_of_one_video_name_each_other(tmp_path: Path) -> None:
    session(tmp_path / "s1.eaf", {"G": SIGNS}, video="cam.mp4")
    session(tmp_path / "s2.eaf", {"G": SIGNS[:1]}, video="cam.mp4")
    (problem,) = [each for each in read(tmp_path).problems if each.kind == "duplicate_key"]
    assert (Path(problem.path).name, "(also s1.eaf: tier 'G' at 00:00:00.500)" in problem.detail) == ("s2.eaf", True)


def test_the_only_tier_needs_no_name(tmp_path: Path) -> None:
    session(tmp_path / "s.eaf", {"Glosa": SIGNS, "Vacía": []})
    assert len(read(tmp_path).samples) == 3


def test_a_vocabulary_says_which_glosses_there_are_and_in_which_order(tmp_path: Path) -> None:
    file = session(tmp_path / "s.eaf", {"Glosa": [*SIGNS, (8000, 9000, "???")]})
    vocabulary = "".join(f"<CV_ENTRY>{text}</CV_ENTRY>" for text in ("MAÑANA", "TÚ", "HOLA"))
    text = file.read_text(encoding="utf-8").replace(
        "</ANNOTATION_DOCUMENT>",
        f'<CONTROLLED_VOCABULARY CV_ID="señas">{vocabulary}</CONTROLLED_VOCABULARY></ANNOTATION_DOCUMENT>',
    )
    file.write_text(text, encoding="utf-8")
    annotated = read(tmp_path, elan=ElanMap(vocabulary="señas"))
    assert annotated.glosses == ("MAÑANA", "HOLA")
    assert len(annotated.samples) == 3
    (problem,) = annotated.problems
    assert problem.detail == "1 annotation is not in the vocabulary 'señas': '???' (1)"
    with pytest.raises(InputError, match=r"no controlled vocabulary of that name .* There are: 'señas' \(3 entries\)"):
        read(tmp_path, elan=ElanMap(vocabulary="x"))


def test_the_linked_video_is_looked_for_beside_the_file_in_videos_and_by_the_files_own_name(tmp_path: Path) -> None:
    session(tmp_path / "eaf" / "a.eaf", {"G": SIGNS}, video="a.mp4").with_name("a.mp4").rename(tmp_path / "a.mp4")
    session(tmp_path / "eaf" / "b.eaf", {"G": [(0, 900, "B")]}, video="")
    (tmp_path / "eaf" / "b.mov").touch()
    assert {s.video.relative_to(tmp_path).as_posix() for s in read(tmp_path).samples} == {"a.mp4", "eaf/b.mov"}
    away = tmp_path / "elsewhere"
    away.mkdir()
    (tmp_path / "a.mp4").rename(away / "a.mp4")
    assert {s.video.name for s in read(tmp_path / "eaf" / "a.eaf", videos=str(away)).samples} == {"a.mp4"}


def test_a_file_outside_of_the_data_folder_is_not_opened(tmp_path: Path) -> None:
    file = session(tmp_path / "data" / "s.eaf", {"G": SIGNS}, video="s.mp4")
    (tmp_path / "data" / "s.mp4").rename(tmp_path / "s.mp4")
    file.write_text(file.read_text(encoding="utf-8").replace("./s.mp4", "../s.mp4"), encoding="utf-8")
    annotated = read(tmp_path / "data", strict=False)
    assert [path.parent.name for path in set(annotated.missing)] == ["data"]


def test_of_two_cameras_the_one_that_is_asked_for(tmp_path: Path) -> None:
    file = session(tmp_path / "s.eaf", {"G": SIGNS}, video="front.mp4")
    eaf = Eaf(str(file))
    eaf.add_linked_file("file:///x/side.mp4", "./side.mp4", "video/mp4", time_origin=1000)
    eaf.add_linked_file("file:///x/sound.wav", "./sound.wav", "audio/x-wav")
    eaf.to_file(str(file))
    (tmp_path / "side.mp4").touch()
    assert {s.video.name for s in read(tmp_path).samples} == {"front.mp4"}
    side = read(tmp_path, elan=ElanMap(media=2), plan={"fractions": (0.0, 0.0)})
    assert {s.video.name for s in side.samples} == {"side.mp4"}
    assert min(s.span.start for s in side.samples if s.span) == 1.5
    with pytest.raises(InputError, match=r"links 2 videos: --elan.media 3 is none"):
        read(tmp_path, elan=ElanMap(media=3))


@pytest.mark.parametrize("content", ["", "<html></html>", "<ANNOTATION_DOCUMENT/>", "no XML"])
def test_other_files_of_that_name_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.eaf").write_text(content)
    with pytest.raises(InputError, match=r"s\.eaf is no ELAN file that can be read: ") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def rewrite(file: Path, *changes: tuple[str, str]) -> Path:
    """Change an .eaf file's text; each part must be there."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_without_schema_is_read(tmp_path: Path) -> None:
    file = session(tmp_path / "sesión.eaf", {"Glosa": SIGNS})
    expected = found(read(tmp_path))
    schema = re.search(r' \S+:noNamespaceSchemaLocation="[^"]*"', file.read_text(encoding="utf-8"))
    assert schema
    rewrite(file, (schema[0], ""))
    assert found(read(tmp_path)) == expected


def test_a_time_origin_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    file = session(tmp_path / "s.eaf", {"G": SIGNS}, time_origin=250)
    rewrite(file, ('TIME_ORIGIN="250"', 'TIME_ORIGIN="8.5"'))
    with pytest.raises(InputError, match=r"s\.eaf .*: the TIME_ORIGIN of a video is '8\.5', not a whole number"):
        read(tmp_path)


def test_parts_of_an_annotation_without_a_time_of_their_own_are_counted(tmp_path: Path) -> None:
    """Of a time subdivision only the outer limits have times; a symbolic subdivision has none."""
    file = session(tmp_path / "s.eaf", {"Glosa": SIGNS, "Frase": [(0, 9000, "entera")]})
    eaf = Eaf(str(file))
    eaf.add_linguistic_type("ref", "Symbolic_Subdivision", timealignable=False)
    eaf.add_tier("Partes", ling="ref", parent="Frase")
    eaf.add_ref_annotation("Partes", "Frase", 100, "UNA")
    eaf.add_ref_annotation("Partes", "Frase", 100, "OTRA")
    eaf.add_tier("Sola", ling="ref", parent="Glosa")
    eaf.add_ref_annotation("Sola", "Glosa", 600, "una")
    eaf.to_file(str(file))
    parts = read(tmp_path, elan=ElanMap(tier="Sola"))
    assert found(parts) == [("s.mp4", "una", None, Span(0.5, 1.75, "second"))]
    with pytest.raises(
        InputError, match=r"2 annotations are parts of another without a time of its own: 'UNA', 'OTRA'"
    ):
        read(tmp_path, elan=ElanMap(tier="Partes"))
    rewrite(file, (' TIME_VALUE="3000"', ""))
    annotated = read(tmp_path, elan=ElanMap(tier="Glosa"))
    assert sorted(span.start for _, _, _, span in found(annotated) if span) == [0.5, 6.0]
    assert [(p.kind, p.severity) for p in annotated.problems] == [("no_own_time", "warning")]
    assert any("1 annotation is a part of another without a time of its own: 'MAÑANA'" in n for n in annotated.notes)


def test_references_are_followed_over_tiers_that_have_times_and_a_parent(tmp_path: Path) -> None:
    """A tier included in another has times of its own, and others may refer to it."""
    file = session(tmp_path / "s.eaf", {"Frase": [(0, 9000, "entera")], "Glosa": SIGNS})
    eaf = Eaf(str(file))
    eaf.add_linguistic_type("in", "Included_In")
    eaf.add_linguistic_type("ref", "Symbolic_Association", timealignable=False)
    eaf.add_tier("Sentido", ling="ref", parent="Glosa")
    eaf.add_ref_annotation("Sentido", "Glosa", 600, "saludo")
    eaf.to_file(str(file))
    rewrite(file, ('TIER_ID="Glosa"', 'TIER_ID="Glosa" PARENT_REF="Frase"'))
    (sample,) = read(tmp_path, elan=ElanMap(tier="Sentido")).samples
    assert (sample.gloss, sample.span) == ("saludo", Span(0.5, 1.75, "second"))
    text = file.read_text(encoding="utf-8")
    (target,) = set(re.findall(r'ANNOTATION_REF="(\w+)"', text))
    (own,) = re.findall(r'REF_ANNOTATION [^>]*ANNOTATION_ID="(\w+)"', text)
    for wrong, said in (("a999", "which is not there"), (own, "which refers to it")):
        file.write_text(text.replace(f'ANNOTATION_REF="{target}"', f'ANNOTATION_REF="{wrong}"'), encoding="utf-8")
        with pytest.raises(InputError, match=f"s.eaf is no ELAN file that can be read: .*{wrong}.*{said}"):
            read(tmp_path, elan=ElanMap(tier="Glosa"))
