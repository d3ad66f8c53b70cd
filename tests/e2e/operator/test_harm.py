"""No task is harmed by scaling: waves of tasks, scale-ins, killed operators, a broker that restarts.

`HARM_WAVES`, `HARM_TASKS` (of a wave) and `HARM_SECONDS` (of the longest task) make it as long as somebody has time for.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.e2e.operator.conftest import Installed, Say, forget
from tests.e2e.operator.kubectl import Namespace, Refused, until
from tests.e2e.operator.plain_celery import Producer, producer_for, quick_pool, workers

WAVES = int(os.environ.get("HARM_WAVES", "2"))
TASKS = int(os.environ.get("HARM_TASKS", "40"))
LONGEST = float(os.environ.get("HARM_SECONDS", "10"))
PODS, SLOTS = int(os.environ.get("HARM_PODS", "4")), 4
RESTARTS = {1, 2 * WAVES // 3} - {0}
"""The waves in which the broker restarts."""


class Steps(threading.Thread):
    """What the Deployment was told to have, one after another."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(daemon=True)
        self._namespace = namespace
        self._stopped = threading.Event()
        self.seen: list[int] = [0]

    def run(self) -> None:
        while not self._stopped.wait(0.3):
            try:
                replicas = self._namespace.replicas("worker")
            except Refused:
                continue
            if replicas != self.seen[-1]:
                self.seen.append(replicas)

    def scale_ins(self) -> int:
        return sum(after < before for before, after in zip(self.seen, self.seen[1:], strict=False))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@contextmanager
def steps_of(namespace: Namespace) -> Iterator[Steps]:
    steps = Steps(namespace)
    steps.start()
    try:
        yield steps
    finally:
        steps.stop()


def kill_leader(operator: Installed) -> None:
    leader = operator.system.get("lease", "op")["spec"]["holderIdentity"]
    if leader:
        operator.system.kubectl("delete", "pod", leader, "--grace-period=0", "--force")


def restart_broker(there: Namespace) -> None:
    """The process ends in order and its container starts again with what it had."""
    with suppress(Refused):  # the connection ends with the server
        there.kubectl("exec", "deployment/valkey", "--", "valkey-cli", "shutdown")
    time.sleep(1)
    there.kubectl("rollout", "status", "deployment/valkey", "--timeout=60s")


def send_wave(producer: Producer, chance: random.Random) -> None:
    for _ in range(TASKS):
        producer.send(1, min(LONGEST, chance.expovariate(3 / LONGEST) + 0.1))


def wait_for(producer: Producer, count: int, within: float) -> None:
    """Wait until so many tasks have ended; of those that have not, say where they are."""
    try:
        until(lambda: len(set(producer.record("ended"))) >= count, within, f"{count} tasks are done")
    except AssertionError as error:
        missing = set(range(count)) - set(producer.record("ended"))
        begun = [each for each in producer.places("begun") if each[0] in missing]
        unacked = producer.client.hlen("unacked")
        raise AssertionError(f"{error}; missing {sorted(missing)}, begun {begun}, {unacked} unacked") from None


def test_no_task_is_cut_lost_or_run_again_by_scaling(
    operator: Installed, celery_namespace: Namespace, figure: Say
) -> None:
    there, chance = celery_namespace, random.Random(7)
    there.apply(
        *workers(report=True, slots=SLOTS, grace=120, visibility=round(30 + 2 * LONGEST)),
        quick_pool(maxReplicas=PODS, initial={"slotsPerPod": SLOTS, "serviceTime": "2s"}),
    )
    patience = 120 + TASKS * LONGEST / SLOTS
    sent = 0
    with steps_of(there) as steps:
        for wave in range(WAVES):
            with producer_for(there) as producer:
                if wave == 0:
                    producer.client.flushall()
                producer.sent = sent
                send_wave(producer, chance)
            sent += TASKS
            time.sleep(LONGEST / 2)  # somewhere in the middle of the work
            kill_leader(operator)
            if wave in RESTARTS:
                restart_broker(there)
            with producer_for(there) as producer:
                wait_for(producer, sent, patience)
            until(lambda: there.replicas("worker") <= 1, 120, "it scales in")
        until(lambda: there.replicas("worker") == 0, 180, "it goes to zero")
        until(lambda: not there.list("pods", "--selector=app=worker"), 180, "the last pod ends")
    with producer_for(there) as producer:
        begun, ended = producer.places("begun"), producer.places("ended")
    forget(there)

    cut = set(begun) - set(ended)
    lost = set(range(sent)) - {number for number, _ in ended}
    again = {number for number, count in Counter(number for number, _ in begun).items() if count > 1}
    figure(
        f"{sent} tasks, {steps.scale_ins()} scale-ins {steps.seen}, {WAVES} operators killed, {len(RESTARTS)} restarts of the broker",
        f"{len(cut)} cut, {len(lost)} lost, {len(again)} begun again",
    )
    assert steps.scale_ins() >= WAVES
    assert not cut, "a task was stopped while it ran"
    assert not lost, "a task was never done"
    assert {number // TASKS for number in again} <= RESTARTS, "a task ran twice, and the broker had not restarted"
