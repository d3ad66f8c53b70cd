"""The embedded mail server: takes every mail, delivers none, and shows what it has."""

import email
import email.policy
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

KEPT_MAILS = 1000
"""Mails that are remembered; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was received."""

    sender: str
    to: str
    subject: str
    message_id: str
    body: str

    def to_json(self) -> dict[str, str]:
        """For a program that reads."""
        return asdict(self)


class Mailbox:
    """What was received, the oldest first."""

    def __init__(self, kept: int = KEPT_MAILS) -> None:
        self._mails: deque[Mail] = deque(maxlen=kept)

    def mails(self) -> Sequence[Mail]:
        """All that is remembered."""
        return tuple(self._mails)

    def protocol(self) -> SMTP:
        """A connection of the server: for `loop.create_server`."""
        return SMTP(self, hostname="laneway", enable_SMTPUTF8=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        """A hook of aiosmtpd."""
        content: Any = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        part = message.get_body(("plain", "html"))
        self._mails.append(
            Mail(
                sender=envelope.mail_from or "",
                to=", ".join(envelope.rcpt_tos),
                subject=message["Subject"] or "",
                message_id=message["Message-ID"] or "",
                body="" if part is None else part.get_content(),
            )
        )
        return "250 OK"
