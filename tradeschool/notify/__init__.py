"""Notifications by webhook, Slack and mail. Messages are delivered in background threads and never block the caller."""

from tradeschool.notify.channels import Channel, Mail, Slack, Webhook
from tradeschool.notify.message import Message
from tradeschool.notify.notifier import Notifier

__all__ = ["Channel", "Mail", "Message", "Notifier", "Slack", "Webhook"]
