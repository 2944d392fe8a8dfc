"""Sends notifications to webhooks, Slack and mail.

It never delays or stops the work that it reports on.
"""

from tradeschool.notify.channels import Channel, Mail, Slack, Webhook
from tradeschool.notify.message import Message
from tradeschool.notify.notifier import Notifier

__all__ = ["Channel", "Mail", "Message", "Notifier", "Slack", "Webhook"]
