"""Seconds of calls that take turns, and Markdown tables."""

import time

import click
import numpy as np


def take_turns(calls, rounds, clock=time.perf_counter):
    """Seconds of each of `rounds` calls, by title; in turns, so that all meet the same load."""
    seconds = {title: [] for title in calls}
    for _ in range(rounds):
        for title, call in calls.items():
            start = clock()
            call()
            seconds[title].append(clock() - start)
    return seconds


def echo_row(*cells):
    click.echo(f"| {' | '.join(map(str, cells))} |")


def echo_header(*titles):
    echo_row(*titles)
    click.echo(f"|{'---|' * len(titles)}")


def in_percent(values):
    """Mean of shares, one a seed, and their standard deviation if there are several."""
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"
