"""Figures as tables: services, lanes and methods, breakers, queues, pools. Live on a terminal, plain text elsewhere."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from laneway.cli.screen import follow
from laneway.cli.top.figures import FAULTS, Figures, Sums
from laneway.cli.top.sources import EACH, Source

WIDTH = 160
"""Columns at least where nobody looks: a row that is cut tells less than a long one."""

METHODS = 12
"""Methods that are shown: those that are called most."""

STATES = ("closed", "half-open", "open")

Row = Sequence[str | Text]


def show_top(source: Source, console: Console, *, looks: int | None = None) -> None:
    """Tables that follow on a terminal, until Ctrl-C or so many looks; elsewhere ones that stand."""
    follow(lambda: top(source.figures()), console, columns=WIDTH, each=EACH, looks=looks, screen=looks is None)


def top(figures: Figures) -> Group:
    """All tables that have something to say."""
    tables = (
        _table("service role processes cpu memory running slots", 2, _services(figures)),
        _table("lane side calls/s faults p50 p95 p99", 2, _lanes(figures)),
        _table("method lane calls/s faults p95 retries/s replays/s", 2, _methods(figures)),
        _table("breaker state refused/s", 2, _breakers(figures)),
        _table("budget retries_left", 1, _budgets(figures)),
        _table("queue due waiting parked oldest done/s retried/s waited_p95", 1, _queues(figures)),
        _table("view lag events/s", 1, _views(figures)),
        _table("saga forward compensating silent", 1, _sagas(figures)),
        _table("pool waiting replicas desired objective", 1, _pools(figures)),
    )
    shown: list[RenderableType] = []
    for table in tables:
        if table.row_count:
            shown += [table, Text()]
    return Group(*(shown[:-1] or [Text("No process tells anything yet.")]))


def _table(columns: str, names: int, rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, column in enumerate(columns.split()):
        table.add_column(column.replace("_", " "), no_wrap=True, justify="left" if at < names else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _services(figures: Figures) -> Iterable[Row]:
    processes = [(each.labels, each.instance) for each in figures.named("laneway_process_info")]
    cpu = figures.rate("process_cpu_seconds_total", "instance")
    memory = figures.total("process_resident_memory_bytes", "instance")
    running, slots = (figures.total(f"laneway_worker_{each}", "instance") for each in ("running", "slots"))
    for service, role in sorted({(labels["service"], labels["role"]) for labels, _ in processes}):
        own = [(instance,) for labels, instance in processes if (labels["service"], labels["role"]) == (service, role)]
        yield [
            service, role, str(len(own)), f"{_sum(cpu, own):.2f}", f"{_sum(memory, own) / 2**20:.0f} MiB",
            *([f"{_sum(running, own):.0f}", f"{_sum(slots, own):.0f}"] if role.endswith("worker") else ["", ""]),
        ]  # fmt: skip


def _lanes(figures: Figures) -> Iterable[Row]:
    rates, faults = figures.rate("laneway_calls_total", "lane", "side"), _faults(figures, "lane", "side")
    quantiles = [figures.quantile(share, "laneway_call_seconds", "lane", "side") for share in (0.5, 0.95, 0.99)]
    for key, rate in sorted(rates.items()):
        yield [*key, f"{rate:.1f}", _share(faults.get(key, 0.0), rate), *(_time(each.get(key)) for each in quantiles)]


def _methods(figures: Figures) -> Iterable[Row]:
    rates = figures.rate("laneway_calls_total", "method", "lane", side="server")
    faults = _faults(figures, "method", "lane", side="server")
    slow = figures.quantile(0.95, "laneway_call_seconds", "method", "lane", side="server")
    retries = figures.rate("laneway_retries_total", "method")
    replays = figures.rate("laneway_idempotent_replays_total", "method")
    for key in sorted((key for key, rate in rates.items() if rate), key=lambda key: (-rates[key], key))[:METHODS]:
        yield [
            *key, f"{rates[key]:.1f}", _share(faults.get(key, 0.0), rates[key]), _time(slow.get(key)),
            f"{retries.get(key[:1], 0.0):.1f}", f"{replays.get(key[:1], 0.0):.1f}",
        ]  # fmt: skip


def _breakers(figures: Figures) -> Iterable[Row]:
    states = figures.largest("laneway_breaker_state", "target")
    refused = figures.rate("laneway_refusals_total", "target")
    troubled = [target for target, state in states.items() if state or refused.get(target)]
    for target in sorted(troubled, key=lambda target: (-states[target], target)):
        state = int(states[target])
        style = ("green", "yellow", "bold red")[state]
        yield [target[0], Text(STATES[state], style), f"{refused.get(target, 0.0):.1f}"]
    if quiet := len(states) - len(troubled):
        yield [f"{quiet} more", Text(STATES[0], "dim"), ""]


def _budgets(figures: Figures) -> Iterable[Row]:
    tokens: dict[tuple[str, ...], float] = {}
    for each in figures.named("laneway_retry_budget_tokens"):
        key: tuple[str, ...] = (each.labels["service"],)
        tokens[key] = min(each.value, tokens.get(key, each.value))
    spent = figures.rate("laneway_retry_budget_exhausted_total", "service")
    for of, left in sorted(tokens.items()):
        if left < 1 or spent.get(of):
            yield [of[0], f"{left:.0f}"]


def _queues(figures: Figures) -> Iterable[Row]:
    states = [figures.largest("laneway_outbox_messages", "queue", state=each) for each in ("due", "waiting", "parked")]
    oldest = figures.largest("laneway_outbox_oldest_seconds", "queue")
    ended = [figures.rate("laneway_queue_deliveries_total", "queue", outcome=each) for each in ("done", "retry")]
    waited = figures.quantile(0.95, "laneway_queue_wait_seconds", "queue")
    for key in sorted({key for sums in (*states, *ended) for key in sums}):
        yield [
            key[0], *(f"{each.get(key, 0.0):.0f}" for each in states), _time(oldest.get(key)),
            *(f"{each.get(key, 0.0):.1f}" for each in ended), _time(waited.get(key)),
        ]  # fmt: skip


def _views(figures: Figures) -> Iterable[Row]:
    seen = figures.rate("laneway_projection_events_total", "view")
    for key, lag in sorted(figures.largest("laneway_projection_lag_seconds", "view").items()):
        yield [key[0], _time(lag), f"{seen.get(key, 0.0):.1f}"]


def _sagas(figures: Figures) -> Iterable[Row]:
    open, silent = (
        figures.largest("laneway_sagas_open", "saga", "state"), figures.largest("laneway_sagas_silent_seconds", "saga")
    )  # fmt: skip
    for (saga,), seconds in sorted(silent.items()):
        yield [saga, *(f"{open.get((saga, state), 0.0):.0f}" for state in ("forward", "compensating")), _time(seconds)]


def _pools(figures: Figures) -> Iterable[Row]:
    names = ("waiting", "replicas", "desired", "objective_met")
    waiting, replicas, desired, met = (
        figures.largest(f"laneway_operator_pool_{name}", "namespace", "pool") for name in names
    )
    for key in sorted(replicas):
        verdict = {1.0: Text("met", "green"), 0.0: Text("missed", "bold red")}.get(met.get(key, -1.0), Text("?", "dim"))
        yield ["/".join(key), _number(waiting.get(key)), _number(replicas[key]), _number(desired.get(key)), verdict]


def _faults(figures: Figures, *by: str, **only: str) -> Sums:
    """Calls each second that have failed by the service's fault."""
    by_code = figures.rate("laneway_calls_total", *by, "code", **only)
    faults: dict[tuple[str, ...], float] = {}
    for (*key, code), rate in by_code.items():
        if code in FAULTS:
            faults[tuple(key)] = faults.get(tuple(key), 0.0) + rate
    return faults


def _sum(sums: Sums, keys: Iterable[tuple[str, ...]]) -> float:
    return sum(sums.get(key, 0.0) for key in keys)


def _share(part: float, whole: float) -> Text:
    share = part / whole if whole else 0.0
    return Text(f"{share:.1%}", "bold red" if share >= 0.01 else "")


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
