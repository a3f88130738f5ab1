"""Numbers and times as people's tools write them; the expected values are written here."""

from pathlib import Path

import pytest

from lscht_ray.dataset._times import UnreadableNumberError, moment, number
from lscht_ray.dataset.annotations import read
from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.span import Span
from support.data import shared


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("0,50", 0.5),
            ("0.50", 0.5),
            (" 7 ", 7.0),
            ("1.234,5", 1234.5),
            ("1,234.5", 1234.5),
            ("1.234.567,5", 1234567.5),
        ),
        *(("1,234,567", 1234567.0), ("-1", -1.0), ("", None), ("\N{NO-BREAK SPACE}12,5", 12.5), ("1e3", 1000.0)),
        *(("1\N{NARROW NO-BREAK SPACE}234,567", 1234.567), ("1'234.5", 1234.5), ("12 345", 12345.0), (".5", 0.5)),
        *(("1.234,567", 1234.567), ("1,234", 1.234), ("1.234", 1.234), ("-1.234.567", -1234567.0), ("2,", 2.0)),
    ],
)
def test_numbers_in_the_notation_of_several_countries(text: str, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        *(("0,50", "second", 0.5), ("00:00:00.500", "second", 0.5), ("01:02:03,25", "second", 3723.25)),
        *(("1:02", "second", 62.0), ("500", "millisecond", 0.5), ("1234,5", "millisecond", 1.2345)),
        *(("500 ms", "second", 0.5), ("2 s", "millisecond", 2.0), ("00:00:01.750", "millisecond", 1.75)),
        *(("12", "frame", 12.0), ("12,0", "frame", 12.0), ("", "second", None)),
        *(("75:30", "second", 4530.0), ("0:59:59.5", "second", 3599.5), ("1:2:3", "second", 3723.0)),
    ],
)
def test_moments(text: str, unit: str, seconds: float | None) -> None:
    found = moment(text, unit)  # type: ignore[arg-type]
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "unit", "part"),
    [
        *(("0,50", "frame", "a time, not the number of a frame"), ("00:00:01.5", "frame", "a time, not")),
        *((text, "millisecond", "a thousand and more") for text in ("1.500", "1,500 ms", "1.234ms")),
        *((text, "frame", "is a time, or more than a thousand") for text in ("1.000", "12,000")),
        *((text, unit, "is no number") for text in ("1" * 5000, "1" * 5000 + ":00:00") for unit in ("frame", "second")),
        *(("1,500", "millisecond", "a thousand and more"), ("00:00:01:12", "second", "depends on the frame rate")),
        *(("inf", "second", "no finite number"), ("pronto", "second", "'pronto' is no number")),
        *(("1e999", "second", "no finite number"), ("0:75:30", "second", "is no number"), ("1:75", "second", "is no")),
        *((text, "second", "is no number") for text in ("0,5.3", "1,2,3", "1.2.3,4", "1_0", "0,1.2", "0.500.3", "1 2")),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str, unit: str, part: str) -> None:
    with pytest.raises(UnreadableNumberError, match=part):
        moment(text, unit)  # type: ignore[arg-type]


def spans(folder: Path, lines: list[str], name: str = "t.csv", **columns: object) -> list[Span | None]:
    for clip in ("a", "b"):
        (folder / f"{clip}.mp4").touch()
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return [sample.span for sample in read(folder / name, columns=ColumnMap.model_validate(columns)).samples]


def test_excel_in_spanish_and_elans_export(tmp_path: Path) -> None:
    spanish = ["archivo;seña;desde;hasta", "a.mp4;hola;0,50;1,75", "b.mp4;casa;1,00;2,25"]
    columns = {"start": "desde", "end": "hasta", "unit": "second"}
    expected = [Span(0.5, 1.75, "second"), Span(1.0, 2.25, "second")]
    assert spans(tmp_path, spanish, **columns) == expected
    export = [
        "Glosa\t\t00:00:00.500\t0.5\t00:00:01.750\t1.75\thola",
        "Glosa\t\t00:00:01.000\t1.0\t00:00:02.250\t2.25\tx",
    ]
    unnamed = {"header": False, "label": "6", "start": "2", "end": "4", "unit": "second"}
    for name in ("hola", "x"):
        (tmp_path / f"{name}.mp4").touch()
    assert spans(tmp_path, export, "e.tsv", **{**unnamed, "path": "{6}.mp4"}) == expected


@pytest.mark.parametrize("name", ["es.csv", "elan.tsv"])
def test_the_files_that_failed(tmp_path: Path, name: str) -> None:
    table = shared("field") / "times" / name
    (tmp_path / name).write_bytes(table.read_bytes())
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        file = tmp_path / line.replace("\t", ";").split(";")[0]
        file.parent.mkdir(exist_ok=True)
        file.touch()
    start, end = {"es.csv": ("inicio", "fin"), "elan.tsv": ("begin", "end")}[name]
    found = read(tmp_path, columns=ColumnMap(start=start, end=end, unit="second"))
    assert len(found.samples) == 12
    assert {sample.span for sample in found.samples} == {Span(0.5, 1.75, "second")}
    plain = read(tmp_path)  # decimals and clocks are seconds: nobody has to say so
    assert plain.samples == found.samples
    assert any(f"from {start!r} to {end!r} in seconds (whole videos with --fr" in note for note in plain.notes)


def test_times_of_an_unknown_unit_are_asked_for(tmp_path: Path) -> None:
    lines = ["archivo;seña;desde;hasta", "a.mp4;hola;1;25", "b.mp4;casa;0;30"]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    found = read(tmp_path)
    assert {sample.span for sample in found.samples} == {None}
    assert any("--columns.start desde --columns.end hasta --columns.unit second" in note for note in found.notes)


def test_a_spanish_excel_table_is_read_as_it_is(tmp_path: Path) -> None:
    """Windows-1252, semicolons, decimal commas, Spanish names of columns."""
    lines = ["seña;archivo;persona;desde;hasta", "mañana;a;Ana;0,50;1,75", "¿cómo?;b;Íñigo;1,00;2,25"]
    (tmp_path / "anotaciones.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    (tmp_path / "videos").mkdir()
    for name in "ab":
        (tmp_path / "videos" / f"{name}.mp4").touch()
    found = read(tmp_path)
    assert [(s.video.name, s.gloss, s.signer, s.span) for s in found.samples] == [
        ("a.mp4", "mañana", "Ana", Span(0.5, 1.75, "second")),
        ("b.mp4", "¿cómo?", "Íñigo", Span(1.0, 2.25, "second")),
    ]
    understood = (
        "anotaciones.csv is read so: the video 'archivo', the gloss 'seña', the signer 'persona', from 'desde' to"
        " 'hasta' in seconds (whole videos with --frame_ranges ignore)"
    )
    assert understood in found.notes


@pytest.mark.parametrize(("unit", "start"), [("frame", 3.0), ("second", 3.0), ("millisecond", 0.003)])
def test_of_negative_ends_only_minus_one_is_the_end_of_a_video(tmp_path: Path, unit: str, start: float) -> None:
    columns = {"start": "start", "end": "end", "unit": unit}
    kind = "frame" if unit == "frame" else "second"
    for end in ("-1", "-1.0", " -1", ""):
        lines = ["path,label,start,end", f"a.mp4,x,3,{end}", f"b.mp4,x,3,{end}"]
        assert spans(tmp_path, lines, **columns) == [Span(start, None, kind)] * 2
    for end in ("-2", "-1.5"):
        wrong = ["path,label,start,end", f"a.mp4,x,3,{end}", "b.mp4,x,0,"]
        with pytest.raises(InputError, match=f"line 2: the range 3 to {end} holds nothing|'{end}' is a time, not the"):
            spans(tmp_path, wrong, **columns)


def test_one_cause_is_said_once(tmp_path: Path) -> None:
    lines = ["path;label;start;end", *(f"{clip}.mp4;x;00:00:00.5;00:00:01.5" for clip in "ab")]
    with pytest.raises(InputError) as caught:
        spans(tmp_path, lines, start="start", end="end")
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/t.csv: all 2 lines: times stand where frames are counted (columns.unit is frame), as in line 2:"
        " '00:00:00.5' is a time, not the number of a frame (say --columns.unit second, or millisecond)"
    ]
    with pytest.raises(InputError, match=r"line 3: 'tarde' is no number \(mend the line\)"):
        spans(tmp_path, [*lines[:1], "a.mp4;x;0;1", "b.mp4;x;0;tarde"], start="start", end="end", unit="second")
