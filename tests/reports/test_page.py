"""report.html: what it says, what it leaves out, and how a real browser shows it."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from chromium import requests, set_screen
from matplotlib.figure import Figure

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import predictions_table
from keras_deep_emotion.reports.commands import fit_command
from keras_deep_emotion.reports.figures.curves import balance_figure, embed_drawing
from keras_deep_emotion.reports.page import write_page
from keras_deep_emotion.runs import Run, best_epoch

CLASSES = ["anger", "happiness", "neutral"]


def draw(path, inches, dpi=120):
    figure = Figure(figsize=inches, layout="constrained")
    figure.subplots().imshow([[0, 1], [1, 0]], cmap="gray")
    figure.savefig(path, dpi=dpi)


def score(mean):
    return {"mean": mean, "interval": [mean - 0.02, mean + 0.02]}


FAITHFULNESS = {
    "faces": 200,
    "scores": {
        "deletion": {"saliency": score(0.31), "random, smooth": score(0.55)},
        "insertion": {"saliency": score(0.72), "random, smooth": score(0.49)},
    },
    "randomisation": {"last layer": score(0.62), "all layers": score(0.05)},
}


def small_run(folder, config=None, **changes):
    """A run folder of three faces written by hand, without pictures; returns its report."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config or TrainConfig()
    (folder / "config.json").write_text(config.to_json())
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n")
    probabilities = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.06, 0.04]]
    table = predictions_table(
        ["a.png", "b.png", "<script>alert(1)</script>"],
        ["ann", "ben", "ann"],
        [0, 1, 2],
        probabilities,
        CLASSES,
    )
    report = {
        "dataset": "toon_faces/standard/1.0.0",
        "protocol": config.protocol,
        "split": "test",
        "paper_accuracy": None,
        **classification_report(table),
        **changes,
    }
    (folder / "report.json").write_text(json.dumps(report))
    return report


def text_of(page):
    """What a reader reads: without styles and tags, white space as one blank."""
    html = re.sub("</?strong>", "", page.read_text())
    html = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(html.replace("\u00a0", " ").split())


def anchors(page):
    return re.findall(r'<h2 id="(\w+)">', page.read_text())


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig.from_recipe("paper", dataset="fer2013/original", epochs=3, seed=7),
        TrainConfig(dataset="jaffe", protocol="subjects", fold=3, weight_decay=1e-5),
        TrainConfig(dataset="folder/my faces; rm", flip=False, transformer=False, cosine=False),
        TrainConfig.from_recipe("paper", cosine=True, optimizer="sgd", precision="float32"),
        TrainConfig(dataset="ck_plus", teachers="runs/a b,ferplus", teacher_share=0.3),
        TrainConfig(dataset="ferg", camera=0.5, camera_changes="blur,noise", balance=0.25),
    ],
    ids=lambda config: config.dataset,
)
def test_the_command_gives_the_settings_back(config):
    from keras_deep_emotion.cli.fit import fit

    words = shlex.split(fit_command(config))
    assert words[:2] == ["keras-deep-emotion", "fit"]
    with fit.make_context("fit", words[2:]) as context:
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        given = {key: context.params[key] for key in names if context.params.get(key) is not None}
    assert TrainConfig.from_recipe(**given) == config


def test_what_a_run_learnt_from_others_is_said(tmp_path):
    small_run(tmp_path, TrainConfig(teachers="runs/a,ferplus", teacher_share=0.3))
    assert "Targets 30 % the mean prediction of runs/a,ferplus" in text_of(write_page(tmp_path))


def test_a_setting_without_an_option_is_named_beside_the_command(tmp_path):
    small_run(tmp_path, TrainConfig(image_size=64))
    text = text_of(write_page(tmp_path))
    assert "keras-deep-emotion fit --dataset toon_faces --recipe best" in text
    assert "image_size is 64, which no option sets" in text


def test_names_of_files_and_people_are_shown_and_not_run(tmp_path):
    run = tmp_path / "a<b>&c"
    report = small_run(run)
    report["per_person"] = {'<img src="x">': report["per_person"]["ann"]}
    (run / "report.json").write_text(json.dumps(report))
    html = write_page(run).read_text()
    assert html.count("<script") == 1 and '<img src="x">' not in html and "a<b>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;img src=&#34;x&#34;&gt;" in html and "a&lt;b&gt;&amp;c" in html


def test_what_the_folder_lacks_has_no_section(tmp_path):
    small_run(tmp_path)
    assert anchors(write_page(tmp_path)) == ["numbers", "mistakes", "data", "repeat", "limits"]
    (tmp_path / "report.json").unlink()
    page = write_page(tmp_path)
    assert anchors(page) == ["data", "repeat", "limits"]
    assert "<img" not in page.read_text()
    assert "versions of training were not recorded" in text_of(page)


def test_each_picture_brings_its_section(tmp_path):
    small_run(tmp_path, attention=None)
    for name, anchor in {
        "confusion_matrix": "confusion",
        "reliability": "calibration",
        "occlusions": "saliency",
        "attended": "attended",
        "mistakes": "mistakes",
    }.items():
        draw(tmp_path / f"{name}.png", (2, 2))
        page = write_page(tmp_path)
        assert anchor in anchors(page)
        (tmp_path / f"{name}.png").unlink()
        assert page.read_text().count("<img") == 1
    (tmp_path / "faithfulness.json").write_text(json.dumps(FAITHFULNESS))
    text = text_of(write_page(tmp_path))
    assert "this run's maps 0.31 0.29 to 0.33 0.72 0.70 to 0.74" in text.replace("&#39;", "'")


def test_the_numbers_are_those_of_the_report(tmp_path):
    small_run(tmp_path)
    text = text_of(write_page(tmp_path))
    assert "Accuracy 66.67 % of 3 test faces (95 % interval 20.77 to 93.85)." in text
    # Of one anger, one happiness and one neutral face, the neutral one is named anger.
    assert "anger 1 100.00 % 50.00 % 0.667 80.00 %" in text
    assert "neutral 1 0.00 % – 0.000 –" in text
    assert "ann 2 50.00 % (9.45 to 90.55)" in text and "ben 1 100.00 %" in text
    assert "neutral anger 90.00 %" in text
    assert (
        "Weakest neutral: 0.00 % recall of 1 face, most often taken for anger; of people, ann: "
        "50.00 % accuracy." in text
    )
    assert "Saliency maps Not scored: explain --score compares" in text


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (TrainConfig(dataset="fer2013"), "The protocol matches: splits of the paper's sizes."),
        (
            TrainConfig(dataset="fer2013/original"),
            "are not comparable: the faces and labels here are original, the paper's ferplus.",
        ),
        (
            TrainConfig(dataset="jaffe", protocol="subjects", fold=1),
            "are not comparable: the protocol here is subjects.",
        ),
    ],
    ids=lambda value: getattr(value, "dataset", None),
)
def test_it_says_whether_the_papers_number_compares(tmp_path, config, says):
    small_run(tmp_path, config, paper_accuracy=70.02)
    text = text_of(write_page(tmp_path)).replace("&#39;", "'")
    assert "The paper reports 70.02 %." in text and says in text
    assert ("the paper: 70.02 %, not comparable" in text) == ("not comparable" in says)


def test_the_kept_epoch_is_the_best_on_validation_and_of_equals_has_least_loss(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy\n0,2,0.1,1.9,0.5\n1,1,0.3,1.2,0.7\n"
        "2,0.9,0.4,1.1,0.7\n3,0.8,0.5,1.3,0.6\n"
    )
    assert best_epoch(Run(path.parent).history)["epoch"] == 3
    small_run(tmp_path)
    html = write_page(tmp_path).read_text()
    assert html.count("data:image/svg+xml") == 2
    assert "Best epoch on validation: 3, with 70.00\u00a0%." in html


def test_damage_and_strangers_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        write_page(tmp_path)
    small_run(tmp_path)
    (tmp_path / "saliency.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(ValueError, match="saliency.png is damaged"):
        write_page(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ValueError, match="report.json is damaged"):
        write_page(tmp_path)
    (tmp_path / "history.csv").write_text("epoch,loss\n0,1\n1,2,3,4\n")
    with pytest.raises(ValueError, match="history.csv is damaged: .* saw 4"):
        _ = Run(tmp_path).history
    assert not (tmp_path / "report.html").exists()


def test_the_same_run_gives_the_same_page_without_tensorflow(tmp_path):
    small_run(tmp_path)
    (tmp_path / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy\n0,2,0.1,1.9,0.5\n"
    )
    first = write_page(tmp_path).read_bytes()
    code = (
        "import sys; from keras_deep_emotion.reports import write_page; write_page(sys.argv[1]); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "report.html").read_bytes() == first


def test_a_run_keeps_the_versions_that_it_was_trained_with(run_dir):
    import keras

    versions = json.loads((run_dir / "versions.json").read_text())
    libraries = {"python", "keras", "tensorflow", "keras_deep_emotion"}
    assert set(versions) == {*libraries, "machine", "precision"}
    assert versions["keras"] == keras.__version__


@pytest.fixture(scope="session")
def full_page(run_dir, tmp_path_factory):
    """The page of a real run with every file that one may hold."""
    folder = tmp_path_factory.mktemp("page") / "toon_faces-paper-20261124-101500"
    shutil.copytree(run_dir, folder)
    (folder / "faithfulness.json").write_text(json.dumps(FAITHFULNESS))
    report = json.loads((folder / "report.json").read_text())
    long = {"name": "<script>console.error('run')</script>" + "long_name_" * 9}
    report["surest_mistakes"] = [{**report["surest_mistakes"][0], **long}]
    part = {key: report[key] for key in ("faces", "correct", "accuracy", "accuracy_interval")}
    report |= {"deduplicated": part, "flip_averaged": part, "paper_accuracy": 70.02}
    (folder / "report.json").write_text(json.dumps(report))
    return write_page(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser_the_page_is_whole_and_asks_for_nothing(browser, full_page, width, scheme):
    set_screen(browser, width, scheme=scheme)
    browser.get("about:blank")  # what the browser itself loads at its start is over
    requests(browser)
    browser.get_log("browser")
    browser.get(full_page.as_uri())

    assert browser.get_log("browser") == []
    asked = requests(browser)
    assert {url for url in asked if not url.startswith("data:")} == {full_page.as_uri()}
    inner, page = browser.execute_script(
        "return [window.innerWidth, document.documentElement.scrollWidth]"
    )
    assert inner == width and page <= inner
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    images = browser.execute_script(
        "return [...document.images].map(i => ({alt: i.alt, natural: i.naturalWidth, "
        "size: [i.getAttribute('width'), i.getAttribute('height')].map(Number), "
        "drawn: [i.clientWidth, i.clientHeight], inside: i.src.startsWith('data:')}))"
    )
    assert len(images) == 9  # three curves and the six pictures of this run
    for image in images:
        assert image["natural"] > 0 and image["inside"] and len(image["alt"]) > 40
        # Not squeezed: as tall for its width as its size says.
        (own_width, own_height), (drawn_width, drawn_height) = image["size"], image["drawn"]
        assert drawn_height == pytest.approx(drawn_width * own_height / own_width, abs=2)
    assert browser.execute_script("return document.querySelectorAll('h1').length") == 1
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")


def test_the_verdict_says_whether_the_maps_can_be_trusted(tmp_path):
    small_run(tmp_path)
    found = json.loads(json.dumps(FAITHFULNESS))

    def said():
        (tmp_path / "faithfulness.json").write_text(json.dumps(found))
        return re.search("Saliency maps (.*?) Metrics", text_of(write_page(tmp_path)))[1]

    assert said().startswith("Not scored: ")  # no comparison in the file
    for measure, ahead in {"deletion": 0.24, "insertion": 0.23}.items():
        found["scores"][measure]["random, smooth"]["ahead"] = score(ahead)
    assert said() == (
        "Trustworthy: compared with random regions, better in deletion (by 0.24), better in "
        "insertion (by 0.23); 200 faces."
    )
    found["scores"]["insertion"]["random, smooth"]["ahead"] = score(-0.09)
    assert said().startswith("Partly trustworthy: ") and "worse in insertion (by 0.09)" in said()
    found["scores"]["deletion"]["random, smooth"]["ahead"] = score(0.01)  # -0.01 to 0.03
    assert said().startswith("Not trustworthy: ") and "no different in deletion," in said()
    found["scores"]["deletion"]["random, smooth"]["ahead"] = score(0.24)
    found["randomisation"]["all layers"] = score(0.9)
    assert said().startswith("Not trustworthy: ") and "hardly depend on the weights" in said()


def test_mistakes_are_sorted_by_a_click_and_contents_stay_in_view(browser, tmp_path):
    report = small_run(tmp_path)
    rows = [
        ("b", "neutral", 0.095),
        ("a", "fear", 0.8),
        ("<script>document.title='x'</script>", "anger", 1.0),
    ]
    report["surest_mistakes"] = [
        {
            "name": name,
            "subject": "ann",
            "label": "happiness",
            "answer": answer,
            "probability": share,
        }
        for name, answer, share in rows
    ]
    (tmp_path / "report.json").write_text(json.dumps(report))
    page = write_page(tmp_path)
    set_screen(browser, 1200)
    browser.get(page.as_uri())

    def column(number):
        return browser.execute_script(
            "return [...document.querySelectorAll('.sortable tbody tr')]"
            f".map(row => row.cells[{number}].textContent)"
        )

    buttons = browser.find_elements("css selector", ".sortable button")
    assert [one.text for one in buttons][:4] == ["face", "person", "true", "predicted"]
    buttons[3].click()
    assert column(3) == ["anger", "fear", "neutral"]
    buttons[4].click()
    assert column(4) == ["9.50\u00a0%", "80.00\u00a0%", "100.00\u00a0%"]
    buttons[4].click()
    assert column(4)[0] == "100.00\u00a0%"
    assert "x" != browser.title
    for width in (390, 1200):
        set_screen(browser, width, height=300)
        browser.execute_script("scrollTo(0, document.body.scrollHeight)")
        top, bottom = browser.execute_script(
            "const box = document.querySelector('nav').getBoundingClientRect();"
            "return [box.top, box.bottom]"
        )
        assert top == 0 and bottom > 20


@pytest.mark.parametrize("recall", [1.0, 0.0, None])
def test_operating_points_of_equal_recalls_can_be_drawn(recall):
    values = {"accuracy": 1.0, "balanced_accuracy": 1.0, "recall": dict.fromkeys("abcdefg", recall)}
    figure = balance_figure([{"balance": one, **values} for one in (0.0, 0.5, 1.0)])
    embed_drawing(figure, "balance")
    low, high = figure.axes[0].get_ylim()
    names = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert len(names) == (0 if recall is None else 7)
    heights = sorted(names.values())
    assert all(b - a > 0.05 * (high - low) for a, b in zip(heights, heights[1:], strict=False))
