"""The model card of a run: what it was trained on, how good it is, what it must not be used for.

After Mitchell et al., "Model Cards for Model Reporting" (2019). Every number is of the run's own
report.json.
"""

from keras_deep_emotion.data.task import Task
from keras_deep_emotion.reports.text import attention_summary

USE = """\
## Intended use

Naming the expression on a cropped, upright, roughly frontal face, one of {classes}, in research, in
teaching, and in products in which a wrong answer harms nobody and a person can contradict it.

## Misuse

An expression is not an emotion: people smile when they are sad and frown when they think, and how
feelings show differs with person, place and culture (Barrett et al., 2019). Do not use this model
to judge what someone feels, wants, hides or will do; not in hiring, policing, border control,
insurance, teaching or care; not on people who were not asked. In the European Union, inferring
emotions at work and in education is forbidden (Regulation (EU) 2024/1689, article 5).

## Limits

- Crops that differ from those it was trained on (another margin, tilted or covered faces, children,
  make-up, infrared) were not tested.
{people}
- A probability is as good as the table above says, on faces like those it was judged on.
"""


NOBODY = """\
- The data name nobody and give no age, sex or origin: whether errors fall on some people more than
  on others cannot be told from them. Measure it on your own people before anyone depends on it."""


PEOPLE = """\
- Errors fall on some people more than on others: of the {count} people that it was judged on, it is
  right on {worst} of the faces of one and on {best} of another's. The data give no age, sex or
  origin. Measure it on your own people before anyone depends on it."""


FER2013 = """\
FER-2013's pictures come from an image search for words of emotion (Goodfellow et al., 2013): posed,
acted and stock photographs beside real ones, labelled by the word searched for or, in FER+, by ten
taggers (Barsoum et al., 2016). Its test split leaks: some of its pictures also stand in training;
the line `without duplicates` leaves them out.
"""


def render_model_card(config, report):
    """Write a run's card.

    Args:
        config: `TrainConfig` of the run.
        report: its report.json, as `runs.judge` returns it.

    Returns:
        The card, Markdown.
    """
    task = Task.from_config(config)
    title = task.title + (f", labels `{task.variant}`" if task.variant else "")
    changed = "" if config.transformer else ", without its spatial transformer"
    lines = [
        f"# {title}: recipe `{config.recipe}`",
        "",
        f"Network `{config.network}`, width {config.width}{changed}, after Minaee and",
        'Abdolrashidi, "Deep-Emotion" (2019), trained from scratch.',
        "",
        "## Data and protocol",
        "",
        f"`{report['dataset']}`, protocol `{report['protocol']}`, judged on split "
        f"`{report['split']}`. Trained for {config.epochs} epochs, seed {config.seed}; the epoch "
        f"that was best on validation was kept; test was looked at once.{taught_by(config)}",
        "",
    ]
    if task.name == "fer2013":
        lines += [FER2013]
    lines += ["## How good it is", "", "| judged on | faces | accuracy | 95 % interval |"]
    lines += ["|---|---|---|---|", headline_row("test", report)]
    if "deduplicated" in report:
        lines.append(headline_row("without duplicates", report["deduplicated"]))
    if "flip_averaged" in report:
        lines.append(headline_row("averaged with mirror images", report["flip_averaged"]))
    if report["paper_accuracy"]:
        differs = task.differences_from_paper
        title = ", which does not compare: " + " and ".join(differs) if differs else ""
        lines.append(f"| the paper{title} | | {report['paper_accuracy']:.2f} % | |")
    calibration = report["calibration"]
    lines += [
        "",
        f"Balanced accuracy {report['balanced_accuracy']:.2%}, macro F1 {report['macro_f1']:.3f}, "
        f"expected calibration error {calibration['error']:.3f}.",
        "",
        *(
            ["The spatial transformer " + attention_summary(report["attention"]) + ".", ""]
            if "attention" in report
            else []
        ),
        "Recall: of the faces of this emotion, how many are named so. Precision: of the faces "
        "named so, how many are; beside it the mean probability that the model gave them: where it "
        "is higher, the model is too sure.",
        "",
        "| emotion | faces | recall | named so | precision | mean probability |",
        "|---|---|---|---|---|---|",
    ]
    for emotion, row in report["per_class"].items():
        given = calibration["per_class"][emotion]
        cells = (
            emotion,
            f"{row['faces']:,}",
            percent(row["recall"]),
            f"{given['faces']:,}",
            percent(row["precision"]),
            percent(given["probability"]),
        )
        lines.append("| " + " | ".join(cells) + " |")
    use = USE.format(classes=number_word(len(report["per_class"])), people=people(report))
    return "\n".join([*lines, "", use])


def taught_by(config):
    """A sentence on what a run learnt besides the data set's labels; none where nothing."""
    if not config.teachers:
        return ""
    count = len(config.teachers.split(","))
    runs = "another run" if count == 1 else f"{count} other runs"
    return f" {config.teacher_share:.0%} of its targets are the mean answers of {runs}."


def people(report):
    """What the data say of differences between people."""
    shares = [one["accuracy"] for one in (report.get("per_person") or {}).values()]
    if len(shares) < 2:
        return NOBODY
    worst, best = percent(min(shares)), percent(max(shares))
    return PEOPLE.format(count=len(shares), worst=worst, best=best)


def number_word(count):
    """A number of emotions in a sentence."""
    return {6: "six", 7: "seven", 8: "eight"}.get(count, str(count))


def headline_row(title, report):
    """A row of the first table."""
    low, high = report["accuracy_interval"]
    return f"| {title} | {report['faces']:,} | {report['accuracy']:.2%} | {low:.2%} to {high:.2%} |"


def percent(share):
    """A share as percent; a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"
