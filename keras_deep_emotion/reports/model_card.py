"""The model card of a run, after Mitchell et al., "Model Cards for Model Reporting" (2019)."""

from typing import Any

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.reports.templates import render
from keras_deep_emotion.reports.text import DEDUPLICATED, FLIP_AVERAGED, attention_summary


def render_model_card(
    config: TrainConfig,
    report: dict[str, Any],
    robustness: dict[str, Any] | None = None,
    balance: float | None = None,
) -> str:
    """Render the model card of a run in Markdown, from its settings and reports.

    `report` is that of `evaluation.evaluate_run`, `robustness` of `evaluate_robustness`;
    `balance` is that of the model, None for that of the run's settings.
    """
    rows = {
        "test": report,
        DEDUPLICATED: report.get("deduplicated"),
        FLIP_AVERAGED: report.get("flip_averaged"),
    }
    classes = len(report["classes"])
    return render(
        "model_card.md.j2",
        config=config,
        task=Task.from_config(config),
        report=report,
        robustness=robustness,
        balance=config.balance if balance is None else balance,
        rows={title: row for title, row in rows.items() if row},
        attention=attention_summary(report["attention"]) if "attention" in report else None,
        people_accuracy=[person["accuracy"] for person in report["per_person"].values()],
        classes={6: "six", 7: "seven", 8: "eight"}.get(classes, classes),
    )
