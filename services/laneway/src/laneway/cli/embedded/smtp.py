"""A mail server that delivers nothing and remembers the last mails, for looking at them."""

from collections import deque
from email import message_from_bytes
from email.policy import default
from typing import Any

KEPT = 1_000


class MailSink:
    """The handler of aiosmtpd: accepts everything."""

    def __init__(self) -> None:
        self.mails: deque[dict[str, str]] = deque(maxlen=KEPT)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802, ARG002 aiosmtpd's name
        """Keep a mail."""
        message: Any = message_from_bytes(envelope.content, policy=default)
        self.mails.append(
            {
                "to": str(message["To"]),
                "from": str(message["From"]),
                "subject": str(message["Subject"]),
                "message_id": str(message["Message-ID"]),
                "body": str(message.get_content()),
            }
        )
        return "250 kept"
