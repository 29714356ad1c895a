"""Tasks on devices: who takes which when, with devices that are slow, jobs that are lost, and the time to start.

All draws of a simulation are worked through at the same time, task by task (Monte Carlo with vectors, of list scheduling: a
device that is free takes the next task, as workers do).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invbench.run.executors.elsewhere import ROUNDS, TRIES


@dataclass(frozen=True)
class Supposed:
    """What no small run can show.

    slow      probability that a device is a slow one
    factor    its seconds for one second of the others
    failures  lost workers or jobs in a day of one device; the task at hand is lost, and begun anew after another start
    queue     seconds that a job of a cluster waits
    """

    slow: float
    factor: float
    failures: float
    queue: float


@dataclass(frozen=True)
class Outcome:
    """By draw, [draws]: seconds until the last task is done, seconds for which devices are held, tasks that are given up."""

    wall: np.ndarray
    held: np.ndarray
    lost: np.ndarray


def workers(
    seconds: np.ndarray, count: int, *, start: float, alone: float, supposed: Supposed, rng: np.random.Generator
) -> Outcome:
    """Processes of one machine, which holds its devices from beginning to end. ``seconds`` of tasks: [draws, tasks].

    The first worker starts with the run, within ``alone``; the others when there is work.
    """
    draws = len(seconds)
    free = np.full((draws, count), start)
    free[:, 0] = 0.0
    used = np.zeros((draws, count), bool)
    slow = _slow(draws, count, supposed, rng)
    lost = np.zeros(draws)
    every = np.arange(draws)
    for task in seconds.T:
        device = free.argmin(axis=1)
        spent, given_up = _tried(task * slow[every, device], start, supposed, rng)
        free[every, device] += spent
        used[every, device] = True
        lost += given_up
    wall = alone + np.where(used, free, 0.0).max(axis=1)
    return Outcome(wall, wall * count, lost)


def jobs(
    seconds: np.ndarray, count: int, *, start: float, alone: float, supposed: Supposed, rng: np.random.Generator
) -> Outcome:
    """Jobs of a cluster, ``count`` at a time, each with a bundle of tasks; a device is held while a job runs."""
    draws, tasks = seconds.shape
    size = max(1, -(-tasks // (count * ROUNDS)))
    free = np.zeros((draws, count))
    slow = _slow(draws, count, supposed, rng)
    held, lost = np.zeros(draws), np.zeros(draws)
    every = np.arange(draws)
    for first in range(0, tasks, size):
        device = free.argmin(axis=1)
        spent = np.full(draws, start)
        for task in seconds[:, first : first + size].T:
            more, given_up = _tried(task * slow[every, device], supposed.queue + start, supposed, rng)
            spent += more
            lost += given_up
        free[every, device] += supposed.queue + spent
        held += spent
    return Outcome(alone + free.max(axis=1), held, lost)


def _slow(draws: int, count: int, supposed: Supposed, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random((draws, count)) < supposed.slow, supposed.factor, 1.0)


def _tried(task: np.ndarray, again: float, supposed: Supposed, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a task of ``task`` seconds, [draws], with its tries that were lost, and whether it was given up.

    Losses come at a constant rate, so a try of s seconds is lost with probability 1 - exp(-rate s).
    """
    rate = supposed.failures / 86400
    spent, left = np.zeros_like(task), np.ones(len(task), bool)
    for _ in range(TRIES):
        until = rng.exponential(1 / rate, len(task)) if rate else np.full(len(task), np.inf)
        broken = left & (until < task)
        spent += np.where(broken, until + again, np.where(left, task, 0.0))
        left = broken
        if not left.any():
            break
    return spent, left
