"""The header of draft-ietf-httpapi-idempotency-key-header, corner by corner."""

import pytest

from laneway.errors import InvalidArgument
from laneway.lanes.idempotency_key import parsed


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        pytest.param([], None, id="no header is no key"),
        pytest.param(['"8e03978e-40d5-43dd-bc93-6894a57f9324"'], "8e03978e-40d5-43dd-bc93-6894a57f9324", id="quoted"),
        pytest.param(["8e03978e-40d5-43dd-bc93-6894a57f9324"], "8e03978e-40d5-43dd-bc93-6894a57f9324", id="bare"),
        pytest.param([' "k"\t'], "k", id="white space around it means nothing"),
        pytest.param([r'"a\"b\\c"'], r"a\"b\c".replace(r"\"", '"'), id="escapes of a quoted key"),
        pytest.param(['"k";v=1; w="x"'], "k", id="parameters mean nothing"),
        pytest.param(['"' + "k" * 255 + '"'], "k" * 255, id="the longest, quoted"),
        pytest.param(["k" * 255], "k" * 255, id="the longest, bare"),
        pytest.param(['"!~"'], "!~", id="any visible character"),
        pytest.param(["a;b=c"], "a;b=c", id="a bare key has no parameters"),
    ],
)
def test_a_key_is_taken(lines: list[str], key: str | None) -> None:
    assert parsed(lines) == key


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([""], id="an empty header"),
        pytest.param(['""'], id="an empty string"),
        pytest.param(["   "], id="only white space"),
        pytest.param(["k" * 256], id="too long, bare"),
        pytest.param(['"' + "k" * 256 + '"'], id="too long, quoted"),
        pytest.param(['"a b"'], id="a space within"),
        pytest.param(["a b"], id="a space within, bare"),
        pytest.param(["k\x07"], id="a control character"),
        pytest.param(["schlüssel"], id="not ASCII"),
        pytest.param(['"k'], id="a quote that never ends"),
        pytest.param(['k"'], id="a quote that never began"),
        pytest.param(['"a"b"'], id="a quote within, not escaped"),
        pytest.param([r'"a\n"'], id="an escape that is none"),
        pytest.param(['"a", "b"'], id="a list"),
        pytest.param(["a,b"], id="a list, bare"),
        pytest.param(["a", "b"], id="two headers"),
        pytest.param(["a", "a"], id="two headers that are the same"),
        pytest.param(['"k" v=1'], id="something behind it"),
    ],
)
def test_what_is_no_key_is_refused(lines: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parsed(lines)
    assert refused.value.reason == "IDEMPOTENCY_KEY_INVALID"
