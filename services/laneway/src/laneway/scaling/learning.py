"""What is learned from looking again and again: arrivals, what a message takes, how long a pod needs to start. Pure."""

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from laneway.scaling.model import Arrivals, Intent, Memory, Observation, Reading, Share, Traffic

RATE_SECONDS = 60.0
"""Arrivals are averaged over so many seconds."""

SUDDEN = 5
"""A new rate is believed when it shows in the median of so many observations; one burst does not."""

SURE = 5.0
"""Standard deviations of a Poisson count by which it must show: a median is less sure than a mean."""

DOUBT = 1.5
"""Standard deviations that the mean may be too low, when it is asked whether fewer pods would do."""

FADE = 60.0
"""Seconds after which what is known of service times counts 1/e."""

STARTUP_WEIGHT = 0.3
"""How much the newest start counts."""

SLOWEST_START = 4.0
"""Times what is known: a pod that found no node for an hour says nothing about how long a start takes."""

Shares = Mapping[str, Share]


def learn(intent: Intent, observation: Observation, reading: Reading, memory: Memory, now: float) -> Memory:
    """The memory after one more observation."""
    before = memory.seen_at
    seconds = 0.0 if before is None else max(reading.at - before, 0.0)
    done = _in_basic_mode(reading, memory) if reading.basic else _by_queue(reading, memory, first=before is None)
    held = _held(reading)
    traffic = {
        queue.name: _traffic(
            memory.traffic.get(queue.name),
            content=queue.waiting + held.get(queue.name, Share()).reserved + held.get(queue.name, Share()).active,
            done=done.get(queue.name, Share()),
            active=held.get(queue.name, Share()).active,
            seconds=seconds,
            known=memory.service_seconds or intent.service_seconds,
        )
        for queue in reading.queues
    }
    finished = sum(share.processed for share in done.values())
    weight = 1 - math.exp(-seconds / SUDDEN)
    completion = finished / seconds if seconds else memory.completion_rate
    return replace(
        _with_starts(intent, observation, reading, memory, now),
        service_seconds=_overall(traffic) or memory.service_seconds,
        since=now if memory.since is None else memory.since,
        seen_at=reading.at,
        failures=0,
        slots=max((worker.slots for worker in reading.workers), default=memory.slots),
        counters={worker.pod: worker.shares for worker in reading.workers},
        finished=reading.finished if reading.basic else memory.finished + finished,
        held_seconds=reading.held_seconds,
        completion_rate=memory.completion_rate + weight * (completion - memory.completion_rate),
        traffic=traffic,
    )


def arrival_rate(traffic: Traffic) -> float:
    """Messages per second: the mean of the recent past, or more when the last moments are surely more."""
    seconds = sum(each.seconds for each in traffic.arrivals)
    if seconds <= 0:
        return 0.0
    mean = sum(each.messages for each in traffic.arrivals) / max(seconds, RATE_SECONDS / 4)
    last = traffic.arrivals[-SUDDEN:]
    if len(last) < SUDDEN:
        return mean
    sudden, span = median(each.messages / each.seconds for each in last), sum(each.seconds for each in last)
    expected = mean * span
    return sudden if sudden * span > expected + SURE * math.sqrt(expected) + SURE else mean


def doubted(rate: float) -> float:
    """What the rate may be, if the past was calmer than the rule."""
    return rate + DOUBT * math.sqrt(rate / RATE_SECONDS)


def oldest_seconds(reading: Reading, memory: Memory) -> float | None:
    """How long the head of line waits in the queue where it waits longest; None if nothing waits or nobody can tell."""
    ages = [
        _head_age(memory.traffic[queue.name], queue.waiting) if queue.oldest_seconds is None else queue.oldest_seconds
        for queue in reading.queues
        if queue.waiting
    ]
    return max((age for age in ages if age is not None), default=None)


def _head_age(traffic: Traffic, waiting: int) -> float | None:
    """Where producers do not stamp: what waits is what came last, so the head came when so many had come since."""
    seconds = 0.0
    for each in reversed(traffic.arrivals):
        seconds += each.seconds
        waiting -= round(each.messages)
        if waiting <= 0:
            return seconds
    return seconds or None  # at least


def _by_queue(reading: Reading, memory: Memory, *, first: bool) -> Mapping[str, Share]:
    """What has ended since the last observation. A counter that fell belongs to a worker that was started again."""
    done: dict[str, Share] = {}
    for worker in reading.workers:
        known = memory.counters.get(worker.pod)
        if known is None and first:
            continue
        for name, share in worker.shares.items():
            before = (known or {}).get(name, Share())
            if share.processed < before.processed or share.busy_seconds < before.busy_seconds:
                before = Share()
            sum_ = done.get(name, Share())
            done[name] = Share(
                processed=sum_.processed + share.processed - before.processed,
                busy_seconds=sum_.busy_seconds + share.busy_seconds - before.busy_seconds,
            )
    return done


def _in_basic_mode(reading: Reading, memory: Memory) -> Mapping[str, Share]:
    """What left `unacked`, on the account of the pool's first queue."""
    if memory.seen_at is None or reading.finished < memory.finished:
        return {}
    return {
        reading.queues[0].name: Share(
            processed=round(reading.finished - memory.finished),
            busy_seconds=max(0.0, reading.held_seconds - memory.held_seconds),
        )
    }


def _held(reading: Reading) -> Mapping[str, Share]:
    """What is taken from each queue."""
    if reading.basic:
        return {reading.queues[0].name: Share(active=max(0, reading.held))}
    held: dict[str, Share] = {}
    for worker in reading.workers:
        for name, share in worker.shares.items():
            sum_ = held.get(name, Share())
            held[name] = Share(active=sum_.active + share.active, reserved=sum_.reserved + share.reserved)
    return held


def _traffic(
    before: Traffic | None, *, content: int, done: Share, active: int, seconds: float, known: float
) -> Traffic:
    if before is None or seconds <= 0:
        return before or Traffic(content=content)
    # What came in is what went out and what is more now; a copy that was lost is no negative arrival.
    arrived = max(0, content - before.content + done.processed)
    fade = math.exp(-seconds / FADE)
    finished = before.finished * fade + done.processed
    busy = before.busy_seconds * fade + done.busy_seconds
    return Traffic(
        content=content,
        arrivals=_recent((*before.arrivals, Arrivals(seconds=seconds, messages=arrived))),
        finished=finished,
        busy_seconds=busy,
        service_seconds=_service(finished, busy, active, before.service_seconds, known),
    )


def _service(finished: float, busy: float, active: int, before: float | None, known: float) -> float | None:
    """Busy seconds per message. While few have ended, what runs says only that a message takes at least so long."""
    if finished >= max(3, active):
        return busy / finished
    if finished + active <= 0:
        return before
    at_least = busy / (finished + active)
    if before is None and at_least <= known:
        return None
    return max(before or known, at_least)


def _recent(arrivals: tuple[Arrivals, ...]) -> tuple[Arrivals, ...]:
    seconds = 0.0
    for index in range(len(arrivals) - 1, -1, -1):
        seconds += arrivals[index].seconds
        if seconds >= RATE_SECONDS:
            return arrivals[index:]
    return arrivals


def _overall(traffic: Mapping[str, Traffic]) -> float | None:
    """Of all queues, weighed by what ended."""
    known = [(each.finished, each.service_seconds) for each in traffic.values() if each.service_seconds is not None]
    weight = sum(finished for finished, _ in known)
    if not known or weight <= 0:
        return max((service for _, service in known), default=None)
    return sum(finished * service for finished, service in known) / weight


def _with_starts(intent: Intent, observation: Observation, reading: Reading, memory: Memory, now: float) -> Memory:
    """Learn from the pods that began to work since the last look; those of the first look are not new."""
    reporting = {worker.pod for worker in reading.workers}
    pods = {pod.name: pod for pod in observation.pods}
    working = frozenset(name for name in pods if name in reporting or (reading.basic and pods[name].ready))
    startup = memory.startup_seconds
    if memory.seen_at is not None:
        for name in working - memory.started:
            took = max(0.0, now - pods[name].created_at)
            took = min(took, SLOWEST_START * max(startup or 0.0, intent.startup_seconds))
            startup = took if startup is None else startup + STARTUP_WEIGHT * (took - startup)
    return replace(memory, startup_seconds=startup, started=working | (memory.started & pods.keys()))
