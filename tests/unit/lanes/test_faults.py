"""What a person has chosen to go wrong."""

import asyncio
from pathlib import Path

import pytest

from laneway.errors import DeadlineExceeded, Internal, LanewayError, Unavailable
from laneway.lanes.faults import Fault, Faults, Kind, remove
from tests.fixtures.shelf import Shelf


@pytest.fixture
def faults(shelf: Shelf) -> Faults:
    """Those of the shelf, whose handlers answer."""
    faults = Faults(None, "shelf", random=lambda: 0.5)
    shelf.dispatcher._strike = faults.strike

    async def answer(request, call):
        return shelf.reply("done")

    for name in ("Peek", "Slow"):
        shelf.handle(name, answer)
    return faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(Kind.ERROR), Internal),
        (Fault(Kind.HANG), DeadlineExceeded),
        (Fault(Kind.SLOW, seconds=60), DeadlineExceeded),
        (Fault(Kind.FLAKY, share=0.6), Unavailable),
    ],
)
async def test_a_service_fails_as_it_is_told(
    shelf: Shelf, faults: Faults, fault: Fault, error: type[LanewayError]
) -> None:
    faults.present = fault
    with pytest.raises(error):
        await shelf.call("Slow")  # its deadline is 20 ms


@pytest.mark.parametrize("fault", [None, Fault(Kind.SLOW, seconds=0.001), Fault(Kind.FLAKY, share=0.5)])
async def test_a_service_that_is_well_or_nearly_so_answers(shelf: Shelf, faults: Faults, fault: Fault | None) -> None:
    faults.present = fault
    assert (await shelf.call("Peek")).message.text == "done"


async def test_a_fault_comes_and_goes_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.lanes.faults.LOOK_AGAIN", 0.001)
    faults = Faults(tmp_path, "orders")
    Fault(Kind.HANG).write(tmp_path, "payments")
    keeping = asyncio.create_task(faults.keep())
    async with asyncio.timeout(10):
        for fault in (Fault(Kind.FLAKY, share=0.1), Fault(Kind.SLOW, seconds=3.0)):
            fault.write(tmp_path, "orders")
            while faults.present != fault:
                await asyncio.sleep(0)
        remove(tmp_path, "orders")
        while faults.present is not None:
            await asyncio.sleep(0)
    keeping.cancel()
