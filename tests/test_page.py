"""The page about a checkpoint: what is on it is right, and it works in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from looking import LooksAtNumbers

from tinygrad_rnn import Tensor, no_grad, ops
from tinygrad_rnn.cli import main
from tinygrad_rnn.data import TextError, Vocabulary
from tinygrad_rnn.inspection.charts import curves, ticks
from tinygrad_rnn.inspection.page import bars, render_page
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.inspection.short_steps import without_short_steps
from tinygrad_rnn.loops import ScanWarning
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.own_text import validation_text
from tinygrad_rnn.tasks.language.reading import MOST_TOKENS, read
from tinygrad_rnn.tasks.language.text_form import TextForm

WORDS = ["the", "cat", "sat", "on", "a", "mat", "</script>", "."]
VOCABULARY = Vocabulary(WORDS)
TEXT = "the cat sat on the mat . the dog sat on a </script> ."


def model_of(cell: Any = "gru", **options: Any) -> LanguageModel:
    sizes: dict[str, Any] = {"vocab_size": len(VOCABULARY), "embedding_size": 5, "hidden_size": 5}
    return LanguageModel(**sizes, cell=cell, dtype=np.float64, rng=np.random.default_rng(0), **options)


def ids_of(text: str = TEXT) -> Any:
    return VOCABULARY.encode_sentence(text.split())


# --- Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"tied": True}, {}, {"softmax": "adaptive"}, {"softmax": "two-level"}])
def test_surprise_and_guesses_are_the_models_own_chances(options: dict[str, Any]) -> None:
    model, ids = model_of(**options), ids_of()
    found = read(model, VOCABULARY, ids)
    with no_grad():
        chances = ops.softmax(model(ids[:-1, None])[0]).numpy()[:, 0]
    np.testing.assert_allclose(found.nats, -np.log(chances[np.arange(len(ids) - 1), ids[1:]]), rtol=1e-12)
    assert found.tokens == VOCABULARY.decode(ids)
    assert found.unknown == [token == "UNKNOWN_TOKEN" for token in found.tokens]
    assert found.total == len(ids) - 1
    for t, guesses in enumerate(found.guesses):
        assert [p for _, p in guesses] == sorted(chances[t], reverse=True)[:5]
        assert all(chances[t][VOCABULARY.tokens.index(token)] == p for token, p in guesses)


def test_a_token_depends_on_what_was_read_before_it_by_the_gradient() -> None:
    model, ids = model_of("lstm"), ids_of()
    found = read(model, VOCABULARY, ids)
    steps = len(ids) - 1
    assert found.depends.shape == (steps, steps + 1)
    assert not np.triu(found.depends, 1).any()
    assert (np.diag(found.depends) > 0).all()
    vectors, t, h = model.embedding(ids[:-1, None]).numpy(), 4, 1e-6

    def surprise(moved: Any) -> float:
        with no_grad():
            outputs, _ = model.recurrent(Tensor(moved))
            logits = (outputs @ model.output_matrix() + model.output_bias)[t]
            return float(ops.softmax_cross_entropy(logits, ids[t + 1 : t + 2]).item())

    for s in range(steps):
        slopes = []
        for e in range(5):
            values = []
            for sign in (1, -1):
                moved = vectors.copy()
                moved[s, 0, e] += sign * h
                values.append(surprise(moved))
            slopes.append((values[0] - values[1]) / (2 * h))
        np.testing.assert_allclose(np.linalg.norm(slopes), found.depends[t, s], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("lead", [1, 4])
def test_gradients_are_those_of_the_mean_surprise_and_are_forgotten_afterwards(lead: int) -> None:
    model, ids = model_of(), ids_of()
    found = read(model, VOCABULARY, ids, lead)
    assert all(p.grad is None for p in model.parameters())
    loss = ops.softmax_cross_entropy(model(ids[:-1, None])[0][lead - 1 :], ids[lead:, None])
    np.testing.assert_allclose(found.nats.mean(), loss.item(), rtol=1e-12)
    loss.backward()
    for name, p in model.named_parameters():
        dense = p.grad.dense() if hasattr(p.grad, "dense") else p.grad
        np.testing.assert_allclose(found.gradients[name], np.linalg.norm(dense), rtol=1e-9)


def test_units_are_what_they_are_after_a_token_was_read() -> None:
    model, ids = model_of(), ids_of()
    found = read(model, VOCABULARY, ids, 2)
    with no_grad():
        _, states = model(ids[:, None])
    np.testing.assert_allclose(found.units["0.forward.h"][-1], states[0].numpy()[0, 0], rtol=1e-12)
    assert all(len(value) == len(found.tokens) == len(ids) - 1 for value in found.units.values())


def test_a_cell_that_cannot_be_traced_is_read_without_its_units() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScanWarning)
        found = read(model_of(LooksAtNumbers), VOCABULARY, ids_of())
        html = render_page("a model", [], {}, {}, found)
    assert found.units == {}
    assert "LooksAtNumbers.step cannot be traced" in found.untraced
    assert "There are none: LooksAtNumbers.step cannot be traced" in html
    np.testing.assert_allclose(found.depends[2, 3:], 0)


def test_neighbours_are_the_nearest_by_cosine_and_no_special_tokens() -> None:
    model = model_of()
    found = read(model, VOCABULARY, ids_of()).neighbours
    assert set(found) == set(WORDS)
    table = model.embedding.weight.numpy()
    for word, near in found.items():
        own = table[VOCABULARY.tokens.index(word)]
        cosines = {w: own @ v / np.linalg.norm(own) / np.linalg.norm(v) for w, v in zip(WORDS, table[4:], strict=True)}
        del cosines[word]
        assert [w for w, _ in near] == sorted(cosines, key=lambda w: -cosines[w])[:5]
        np.testing.assert_allclose([c for _, c in near], sorted(cosines.values(), reverse=True)[:5], rtol=1e-9)


@pytest.mark.slow
def test_what_is_given_is_not_asked_for_and_of_a_long_text_the_beginning_is_read() -> None:
    model = model_of()
    lead = [VOCABULARY.end, VOCABULARY.start, VOCABULARY.end, VOCABULARY.start]
    found = read(model, VOCABULARY, np.concatenate([lead, ids_of()[1:]]), len(lead))
    assert found.tokens == VOCABULARY.decode(ids_of())
    assert len(found.nats) == len(found.guesses) == len(found.depends) == len(found.tokens) - 1
    long = read(model, VOCABULARY, np.full(400, 5), spelling=["word"] * 400)
    assert (long.tokens, long.total, len(long.nats)) == (["word"] * (MOST_TOKENS + 1), 399, MOST_TOKENS)
    assert f"The first {MOST_TOKENS} of 399 tokens" in render_page("a model", [], {}, {}, long)
    with pytest.raises(TextError, match="nothing to read"):
        read(model, VOCABULARY, np.array([VOCABULARY.start]))


# --- The page --------------------------------------------------------------------------------------------------


def test_curves_are_thinned_and_leave_out_what_is_not_finite() -> None:
    valid = [(0, 1.0), (5, np.nan), (2999, 7.0)]
    svg = curves({"training": [(i, float(i)) for i in range(3000)], "valid": valid}, "nats")
    lines = re.findall(r'<polyline points="([^"]*)"', svg)
    assert [len(line.split()) for line in lines] == [300, 2]
    heights = [float(point.split(",")[1]) for point in lines[0].split()]
    assert heights == sorted(heights, reverse=True)
    assert svg.count("<circle") == 2  # few points are marked
    assert 'aria-label="nats: training from 4.5 to 2.99e+03 at step 2,999; valid from 1 to 7 at step 2,999"' in svg
    assert curves({"training": [], "valid": []}, "nats") == ""


def test_a_curve_has_its_colour_whatever_stands_beside_it_and_one_point_is_seen() -> None:
    alone = curves({"training": [], "valid": [(3, 2.0)]}, "nats")
    assert alone.count('class="red"') == 2 and 'class="blue"' not in alone
    assert alone.count("<circle") == 1


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 8))
def test_ticks_are_round_evenly_apart_and_around_all_values(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count)
    assert found[0] <= low + 1e-9 * abs(low) and found[-1] >= low + span - 1e-9 * (abs(low) + span)
    assert 2 <= len(found) <= count + 3
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6, atol=1e-12 * abs(low))


@given(
    st.floats(-1e300, 1e300) | st.sampled_from([0.0, 5e-324, -1e-320, 1e-13, 1.0, 1e300]),
    st.floats(0, 1e300) | st.sampled_from([0.0, 5e-324, 1.26e-157, 1e-16, 1e-13]),
    st.integers(2, 8),
)
def test_ticks_differ_whatever_the_values(low: float, span: float, count: int) -> None:
    high = min(low + span, 1e300)
    found = ticks(low, high, count)
    assert 2 <= len(found) <= count + 3 and np.all(np.diff(found) > 0) and np.isfinite(found).all()
    largest = max(abs(low), abs(high))
    assert found[0] <= low + 1e-9 * largest and found[-1] >= high - 1e-9 * largest


@pytest.mark.parametrize("values", [[1e-300, 2e-300], [0.0, 1e-13], [1e308, -1e308, 1.0], [1.0, 1.0 + 1e-15], [5e-324]])
def test_curves_of_the_smallest_and_largest_numbers_are_drawn(values: list[float]) -> None:
    drawn = curves({"loss": list(enumerate(values))}, "nats")
    assert drawn and "nan" not in drawn and "inf" not in drawn
    assert curves({"loss": [(0, 1e308)]}, "nats") == ""


@pytest.mark.parametrize("values", [(0.0, 9e-13), (1e-13, 2e-13), (0.0, 5e-324), (1e-300, 3e-300)])
def test_ticks_of_very_small_values_are_apart(values: tuple[float, float]) -> None:
    found = ticks(*values, 5)
    assert found == sorted(set(found)) and found[0] <= values[0] and found[-1] >= values[1] and len(found) > 1


def test_bars_are_as_long_as_their_numbers_and_layers_are_the_roots_of_the_sums_of_squares() -> None:
    norms = {"embedding.weight": 2.0, "recurrent.cells.0.z.U": 3.0, "recurrent.cells.0.z.W": 4.0, "output_bias": 0.0}
    layers, each = bars(norms).split("<details>")
    assert re.findall(r'scope="row">([^<]*)<.*?width:([\d.]+)%', layers) == [
        ("embedding", "40.0"),
        ("recurrent layer 0", "100.0"),
        ("output (its bias; the weights are the embedding&#x27;s)", "0.0"),
    ]
    assert ">output<" in bars({**norms, "output_weight": 1.0}) and "its bias" not in bars({"output_weight": 1.0})
    assert ">output<" in bars({"output.head.weight": 1.0})
    assert re.findall(r"width:([\d.]+)%", each) == ["50.0", "75.0", "100.0", "0.0"]


class Closed(HTMLParser):
    """Every element that is opened is closed, in order; and what it links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "input"):  # which have no end
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of words, trained for a moment."""
    folder = tmp_path_factory.mktemp("run")
    text = folder / "text.txt"
    text.write_text("\n".join(["the cat sat on the mat .", "a dog sat on a mat .", "the dog sat ."] * 12))
    options = "--lines --epochs 2 --hidden 6 --embedding 6 --layers 1 --vocab-size 12"
    result = CliRunner().invoke(main, ["train", "--text", str(text), *options.split(), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder / "best.safetensors"


def made(checkpoint: Path, tmp_path: Path, *options: str) -> str:
    target = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["inspect", str(checkpoint), "--html", str(target), *options])
    assert (result.exit_code, result.stderr) == (0, "")
    assert str(target) in result.stdout
    return target.read_text(encoding="utf-8")


def data_of(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    html = made(checkpoint, tmp_path)
    parser = Closed(html)
    assert (parser.open, parser.links) == ([], [])
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", html)
    for name in ("Losses", "Norm of the gradient", "A text", "Gates and states", "Nearest in the embedding"):
        assert f"<h2>{name}" in html
    assert html.count("<polyline") == 3


def test_the_page_shows_the_model_reading_the_text_that_was_given(checkpoint: Path, tmp_path: Path) -> None:
    data = data_of(made(checkpoint, tmp_path, "--text", "the zebra sat"))
    assert data["tokens"] == ["SENTENCE_START", "the", "zebra", "sat", "SENTENCE_END"]
    assert data["unknown"] == [False, False, True, False, False]
    model, vocabulary, settings, _ = load_language_model(checkpoint)
    found = read(model, vocabulary, *TextForm.of(vocabulary, settings).spelled("the zebra sat"))
    np.testing.assert_allclose(data["nats"], found.nats, rtol=1e-3)
    np.testing.assert_allclose(data["depends"], found.depends, rtol=1e-3, atol=1e-12)
    assert set(data["units"]) == {f"0.forward.{name}" for name in "zrnh"}


def test_no_token_can_end_the_script_or_be_taken_for_a_tag() -> None:
    html = render_page("<i>", [("<b>", "&")], {}, {}, read(model_of(), VOCABULARY, ids_of()))
    assert Closed(html).open == []
    assert data_of(html)["tokens"] == VOCABULARY.decode(ids_of())
    assert "</script>" in data_of(html)["tokens"]
    assert "<h1>&lt;i&gt;</h1>" in html
    assert "<dt>&lt;b&gt;</dt><dd>&amp;</dd>" in html


def test_a_model_whose_training_went_astray_has_a_page_that_says_so() -> None:
    model = model_of()
    model.output_bias.data[3] = np.nan
    html = render_page("a model", [], {}, {}, read(model, VOCABULARY, ids_of()))
    data = data_of(html)
    assert "NaN" not in html and set(data["nats"]) == {None} and data["guesses"][0][0][1] is None
    assert "its training went astray" in html


def test_a_log_with_a_line_cut_short_keeps_the_others(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("best.safetensors", "log.jsonl"):
        shutil.copy(checkpoint.with_name(name), tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text('[1]\n{"event": "step"}\n' + log.read_text() + '{"event": "step", "st')
    assert made(tmp_path / "best.safetensors", tmp_path).count("<polyline") == 3


def test_the_page_does_not_take_the_checkpoints_place(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    shutil.copy(checkpoint, copy)
    for target in (copy, checkpoint):
        result = CliRunner().invoke(main, ["inspect", str(copy), "--html", str(target)])
        assert (result.exit_code, "is there already, and is no page" in result.stderr) == (2, True)
    assert copy.read_bytes() == checkpoint.read_bytes()
    assert CliRunner().invoke(main, ["inspect", str(copy), "--html", "-"]).stdout.startswith("<!doctype html>")


def test_a_short_step_is_joined_to_the_one_before_by_their_tokens() -> None:
    steps = [(1, 2.0, 10), (2, 4.0, 10), (3, 9.0, 1), (4, 3.0, 10), (5, 8.0, 4)]
    assert without_short_steps(steps) == [(1, 2.0), (3, 49 / 11), (5, 62 / 14)]
    assert without_short_steps([(1, 7.0, 1), (2, 3.0, 10), (3, 3.0, 10)]) == [(1, 7.0), (2, 3.0), (3, 3.0)]
    broken = without_short_steps([(1, 2.0, 10), (2, 2.0, 10), (3, np.nan, 1)])
    assert broken[:2] == [(1, 2.0), (2, 2.0)] and np.isnan(broken[2][1])
    assert without_short_steps([]) == []


@pytest.mark.slow
def test_the_picture_of_the_losses_has_no_spike_there_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    drawn: list[Any] = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    steps = [{"event": "step", "step": i, "loss": 2.0, "tokens": 40} for i in range(1, 5)]
    short = {"event": "step", "step": 5, "loss": 43.0, "tokens": 1}
    assert loss_curve([*steps, short], tmp_path / "loss.png")
    line = drawn[0].axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 3, 5], [2, 2, 2, 3])


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def told(html: str, name: str) -> str:
    found = re.search(rf'aria-label="[^"]*?{name} from ([^;"]*)', html)
    assert found
    return found[1]


def test_the_page_has_no_spike_where_an_epoch_ends_in_a_short_window(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("best.safetensors", "log.jsonl"):
        shutil.copy(checkpoint.with_name(name), tmp_path)
    records = logged(tmp_path)
    last = [record for record in records if record["event"] == "step"][-1]
    last |= {"tokens": 1, "loss": 1000.0}
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert float(told(made(tmp_path / "best.safetensors", tmp_path), "training, with dropout").split()[2]) < 100


@pytest.mark.parametrize("log", [True, False])
def test_the_evaluation_at_the_end_is_in_the_curve_also_where_none_was_planned(
    checkpoint: Path, tmp_path: Path, log: bool
) -> None:
    options = "--lines --epochs 1 --evaluate-every 5 --batch-size 1 --steps 10 --hidden 6 --embedding 6 --layers 1"
    options += " --sentences 0"
    text = str(checkpoint.with_name("text.txt"))
    found = CliRunner().invoke(main, ["train", "--text", text, *options.split(), "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    evaluations = [record for record in logged(tmp_path) if record["event"] == "evaluation"]
    last = evaluations[-1]
    assert last["step"] % 5 and last["best"]
    if not log:
        (tmp_path / "log.jsonl").unlink()
    for name in (
        ("best", "last") if log else ("best",)
    ):  # the run as it stood before that evaluation knows nothing of it
        shown = told(made(tmp_path / f"{name}.safetensors", tmp_path), "sentences not trained on")
        assert shown.endswith(f"to {last['valid_nats']:.3g} at step {last['step']}")


@pytest.mark.parametrize("level", ["word", pytest.param("char", marks=pytest.mark.slow)])
def test_unless_told_the_model_reads_of_its_validation_part(checkpoint: Path, tmp_path: Path, level: str) -> None:
    text = tmp_path / "text.txt"
    lines = ["the cat sat on the mat .", "a dog sat on a mat ."] * 10 + ["an emu ran to the mat and the cat .", "so ."]
    lines += ["the cat ran to the dog and sat there .", "the dog sat on the mat and a cat ran ."]
    text.write_text("\n".join(["so it ran and there to", *lines]), encoding="utf-8")
    options = f"--level {level} --epochs 1 --hidden 6 --embedding 6 --layers 1 --valid-fraction 0.16".split()
    options += ["--sentences", "0"]
    options += ["--lines", "--no-shuffle"] if level == "word" else []
    found = CliRunner().invoke(main, ["train", "--text", str(text), *options, "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    html = made(tmp_path / "best.safetensors", tmp_path)
    shown = data_of(html)["tokens"]
    assert "of the validation part, which the model was not trained on" in html
    if level == "word":  # the first with eight words that are all known
        assert shown == ["SENTENCE_START", *lines[-2].split(), "SENTENCE_END"]
    else:
        assert text.read_text(encoding="utf-8").endswith("".join(shown)) and len(shown) > 50
    text.write_text("another", encoding="utf-8")
    assert "made up by the model itself, since its corpus" in made(tmp_path / "best.safetensors", tmp_path)
    text.unlink()
    assert "made up by the model itself, since its corpus" in made(tmp_path / "best.safetensors", tmp_path)
    html = made(tmp_path / "best.safetensors", tmp_path, "--text", "the cat")
    assert "<dt>text</dt><dd>as asked for</dd>" in html


def test_a_corpus_from_standard_input_is_not_asked_for_again_by_a_page(tmp_path: Path) -> None:
    settings = LanguageOptions(text=("-",))
    assert validation_text(tmp_path / "best.safetensors", VOCABULARY, settings, {"corpus": {"sha256": ""}}, {}) is None


def test_without_a_log_the_page_does_without_trainings_curves(checkpoint: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(checkpoint, alone)
    html = made(alone, tmp_path)
    assert html.count("<polyline") == 1
    assert "no log.jsonl lies beside the checkpoint" in html


def test_the_log_of_another_run_is_not_drawn_as_this_one_s(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(checkpoint, tmp_path)
    lines = checkpoint.with_name("log.jsonl").read_text(encoding="utf-8").partition("\n")
    (tmp_path / "log.jsonl").write_text('{"event": "run", "step": 0, "run": "another"}\n' + lines[2])
    html = made(tmp_path / checkpoint.name, tmp_path)
    assert html.count("<polyline") == 1 and "is of another run" in html


def test_a_text_without_a_page_and_an_empty_text_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(checkpoint), "--text", "the"])
    assert (result.exit_code, "say --html as well" in result.stderr) == (2, True)
    result = CliRunner().invoke(main, ["inspect", str(checkpoint), "--html", str(tmp_path / "p"), "--text", " "])
    assert (result.exit_code, "the text has no tokens" in result.stderr) == (1, True)


# --- In a browser ----------------------------------------------------------------------------------------------

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

HARNESS = """
<script>
const out={errors:window.errors||[]},press=k=>text.dispatchEvent(new KeyboardEvent('keydown',{key:k,bubbles:true}));
const at=()=>+text.getAttribute('aria-activedescendant').slice(1),shades=()=>spans.map(s=>s.style.background);
const pick=v=>{const e=document.querySelector(`input[value=${v}]`);e.checked=true;e.onchange()};
out.width=[document.documentElement.scrollWidth,innerWidth];
out.ground=getComputedStyle(document.body).backgroundColor;
out.start=at();press('Home');out.home=at();press('ArrowLeft');out.left=at();press('ArrowRight');out.right=at();
press('End');out.end=at();out.surprise=shades();out.said=said.textContent;
pick('depends');press('Home');press('ArrowRight');press('ArrowRight');out.depends=shades();out.from=said.textContent;
names.selectedIndex=1;names.onchange();units.value='2';units.onchange();out.unit=shades();out.mode=mode();
out.canvases=canvases.length;
out.drawn=canvases.every(([c])=>c.getContext('2d').getImageData(c.width/2,c.height-2,1,1).data[3]===255);
out.count=units.length;out.focusable=[...document.querySelectorAll('input,select,[tabindex]')].every(e=>e.tabIndex>=0);
spans[1].click();out.clicked=at();
document.body.innerHTML='<pre id="out"></pre>';document.getElementById('out').textContent=JSON.stringify(out);
</script>"""


def in_browser(html: str, tmp_path: Path, *options: str) -> Any:
    path = tmp_path / "tried.html"
    early = "<script>window.errors=[];window.onerror=m=>errors.push(String(m))</script>"
    path.write_text(html.replace("<body>", f"<body>{early}").replace("</body>", f"{HARNESS}</body>"), encoding="utf-8")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", *options]
    command = [CHROMIUM, *arguments, "--virtual-time-budget=2000", "--dump-dom", path.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    text = re.search(r'<pre id="out">(.*?)</pre>', found.stdout, re.DOTALL)
    assert text, found.stdout[-2000:] + found.stderr[-2000:]
    return json.loads(text[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_the_page_works_by_keyboard_at_any_width(checkpoint: Path, tmp_path: Path, width: int) -> None:
    html = made(checkpoint, tmp_path, "--text", "the cat sat on the mat .")
    data, last = data_of(html), len(data_of(html)["tokens"]) - 1
    found = in_browser(html, tmp_path, f"--window-size={width},800")
    assert found["errors"] == []
    assert found["width"][0] <= found["width"][1]
    assert [found[k] for k in ("start", "home", "left", "right", "end", "clicked")] == [last, 1, 1, 2, last, 1]
    assert len({*found["surprise"]}) > 2
    assert "Expected: " in found["said"]
    assert found["from"].count("\u201c") == 2 + 5 + 3  # the token and the one before, the guesses, what it depends on
    ends = [c.split("* ")[1].split(")")[0] for c in found["depends"]]
    assert ends[3:] == ["0.000"] * (last - 2) and "0.000" not in ends[:3]
    assert (found["canvases"], found["drawn"]) == (len(data["units"]), True)
    assert (found["mode"], found["count"], found["focusable"]) == ("unit", len(data["units"]["0.forward.r"][0]), True)
    assert found["unit"] != found["surprise"]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_in_a_browser_the_page_is_light_or_dark_as_the_reader_is(checkpoint: Path, tmp_path: Path) -> None:
    html = made(checkpoint, tmp_path)
    grounds = [in_browser(html, tmp_path, f"--blink-settings=preferredColorScheme={n}")["ground"] for n in (0, 1)]
    assert grounds == ["rgb(22, 24, 28)", "rgb(255, 255, 255)"]
